/** The process of a server or a witness: its directory, its lives, its end. */

import type { StoreId } from "../../../protocol/epoch.ts";
import { openEndedGroups } from "../../../storage/ended_groups.ts";
import { type OpenLog, openLog } from "../../host/log.ts";
import { stopOnSignals } from "../../host/process.ts";
import { failNode } from "./group_node.ts";
import type { NodeSettings } from "./group_flags.ts";
import { takePlace } from "./own_place.ts";

/** What one life of a node is begun with. */
export interface LifeParts<Settings extends NodeSettings> {
  readonly settings: Settings;
  readonly opened: OpenLog;
  /** Groups that ended in this node's directory. */
  readonly dissolved: readonly StoreId[];
  /** The group has ended, durably: this life is closed and a new one begun. */
  onEnded(): void;
  /** The node has left its group: the process ends. */
  onLeft(): void;
}

/** A node that runs. */
export interface GroupNodeLife {
  /** Ends it for the sake of others, who take over. */
  stop(reason: string): Promise<void>;
  /** Ends it at once. */
  close(): Promise<void>;
}

/**
 * Runs a node until it is told to stop. When its group has ended it begins
 * anew, as a new and empty store under the same name.
 */
export async function runGroupNode<Settings extends NodeSettings>(
  asked: Settings,
  begin: (parts: LifeParts<Settings>) => Promise<GroupNodeLife>,
): Promise<void> {
  // A node without a name gets one with its directory; until then this is it.
  const unplaced = { node: asked.id || "skein", level: asked.logLevel };
  let opened: OpenLog | undefined;
  try {
    const hostname = () => Deno.env.get("HOSTNAME") || Deno.hostname();
    const { settings, lock } = takePlace(asked, hostname);
    opened = openLog({ node: settings.id, level: settings.logLevel });
    let life: GroupNodeLife | undefined;
    let isStopping = false;
    let wake = () => {};
    const stop = stopOnSignals({
      log: opened,
      exitWithParent: settings.exitWithParent,
      stop: async (reason) => {
        isStopping = true;
        // Between two lives the directory may be in use: the system unlocks it.
        if (life === undefined) return;
        await life.stop(reason);
        lock.release();
      },
    });
    while (!isStopping) {
      const ended = new Promise<void>((resolve) => wake = resolve);
      life = await begin({
        settings,
        opened,
        dissolved: openEndedGroups(settings.data),
        onEnded: () => wake(),
        onLeft: () => stop("it has left its group for good"),
      });
      await ended;
      // A life that ends here is not to be stopped as well.
      const over: GroupNodeLife = life;
      life = undefined;
      await over.close();
    }
  } catch (error) {
    await failNode(opened ?? openLog(unplaced), error);
  }
}

/** Who a node is that nobody has named, and what its group survives if nobody has configured it. */

import type { StoreId } from "../../../protocol/epoch.ts";
import type { View } from "../../../protocol/view.ts";
import { formatChoice } from "../../host/discovery/discover_flags.ts";
import type { Log } from "../../host/log.ts";
import { survivalOf } from "./group.ts";
import type { NodeSettings } from "./group_flags.ts";

/** Says so in the log; a node that is configured knows both already. */
export class Introduction {
  readonly #settings: Pick<
    NodeSettings,
    "id" | "isNamed" | "data" | "discover"
  >;
  readonly #log: Log;
  #told = "";

  constructor(
    settings: Pick<NodeSettings, "id" | "isNamed" | "data" | "discover">,
    log: Log,
  ) {
    this.#settings = settings;
    this.#log = log;
  }

  /** The node starts; `group` is the one that it was in before. */
  start(group: StoreId | undefined): void {
    const { id, isNamed, data, discover } = this.#settings;
    if (!isNamed) this.#log.info(`This is "${id}", data in ${data}`);
    if (discover === undefined) return;
    const how = `with "--discover ${formatChoice(discover)}"`;
    this.#log.info(
      group === undefined
        ? `No group is configured: looking for one ${how}`
        : `Its group is ${group}: looking for it ${how}`,
    );
  }

  /** A view is active, or none is known to be. */
  viewChanged(view: View | undefined): void {
    if (this.#settings.discover === undefined || view === undefined) return;
    // Between two sets of voters both count.
    if (view.previousVoters !== undefined) return;
    const survival = survivalOf(view.voters.map((store) => view.nodes[store]));
    if (survival === this.#told) return;
    this.#told = survival;
    this.#log.info(survival);
  }
}

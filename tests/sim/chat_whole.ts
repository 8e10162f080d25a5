/** Whether a simulated group is as it should be once the faults are over. */

import { isSameEpoch } from "../../protocol/epoch.ts";
import { compareRank, type View } from "../../protocol/view.ts";
import type { ChatChecker } from "./chat_checker.ts";
import type { SimulatedReplica } from "./chat_node.ts";

/** A group and those of its nodes that are to be whole. */
export interface GroupToBe {
  readonly checker: ChatChecker;
  readonly living: readonly SimulatedReplica[];
  /** Whether a working primary of lower rank stays. */
  readonly sticky: boolean;
}

/** What is still missing; undefined if all that live are as they should be. */
export function missingOf(group: GroupToBe): string | undefined {
  const view = group.checker.newestActive;
  if (view === undefined) return "a view";
  if (view.previousVoters !== undefined) return "an end of the last voters";
  for (const replica of group.living) {
    const missing = missingAt(replica, view) ?? missingBehind(replica, group);
    if (missing !== undefined) return missing;
  }
  return missingIn(view, group);
}

/** What a node has to be in the view. */
function missingAt(
  { name, kind, group, disk, isAwake }: SimulatedReplica,
  view: View,
): string | undefined {
  if (!isAwake) return `${name} itself`;
  if (
    group?.view === undefined || !isSameEpoch(group.view.epoch, view.epoch)
  ) return `${name} in the newest view`;
  if (kind === "server" && !view.members.includes(disk.store)) {
    return `${name} in sync`;
  }
  if (!view.voters.includes(disk.store)) return `the vote of ${name}`;
  return undefined;
}

/** What a server has to have, and to have done. */
function missingBehind(
  { name, kind, group, state, service }: SimulatedReplica,
  { checker }: GroupToBe,
): string | undefined {
  if (kind !== "server") return undefined;
  if (group?.isWritable !== true) return `${name} being writable`;
  if (state.index !== checker.commitIndex) return `all at ${name}`;
  return service?.openCount === 0
    ? undefined
    : `answers of ${name}: ${service?.describe()}`;
}

/** What the view has to be. */
function missingIn(
  view: View,
  { living, sticky }: GroupToBe,
): string | undefined {
  for (const member of view.members) {
    if (living.some(({ disk }) => disk.store === member)) continue;
    return `a view without ${view.nodes[member].id}, who is dead`;
  }
  if (sticky) return undefined;
  const servers = living.filter(({ kind }) => kind === "server");
  const highest = servers.reduce((a, b) =>
    compareRank(a.hello(), b.hello()) > 0 ? a : b
  );
  return highest.disk.store === view.primary
    ? undefined
    : `the lead of ${highest.name}`;
}

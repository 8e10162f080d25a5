/** What `skein-chat recover` says of a directory: lines for an operator who has lost servers. */

import {
  compareEpochs,
  type Epoch,
  formatEpoch,
  type StoreId,
} from "../../../protocol/epoch.ts";
import type { View } from "../../../protocol/view.ts";
import { type Inspection, type Reach, reachOf } from "./inspection.ts";

/** What is there, what it is worth, and what the group needs to start by itself. */
export function reportOn(inspection: Inspection): string[] {
  return [
    ...factsOf(inspection),
    "",
    ...inspection.kind === "server" ? worthOf(inspection) : [
      "A witness has votes and no messages: a group cannot be recovered from it.",
    ],
    "",
    ...startNeeds(inspection),
  ];
}

/** Whether the server counts as in sync: it was, and nothing of it has been lost. */
export function isInSync(inspection: Inspection): boolean {
  const { votes, kind } = inspection;
  return kind === "server" && votes.store !== undefined &&
    votes.accepted?.members.includes(votes.store) === true &&
    !hasLost(inspection);
}

/** The names of all others that the view knows, whom a recovered group must not meet halfway. */
export function othersOf({ votes: { accepted, store } }: Inspection): string[] {
  if (accepted === undefined) return [];
  const { voters, previousVoters = [], members } = accepted;
  const all = new Set([...voters, ...previousVoters, ...members]);
  if (store !== undefined) all.delete(store);
  return namesOf(accepted, [...all]);
}

/** What is to be done once a server has been recovered, and what will come of it. */
export function nextSteps(
  inspection: Inspection,
  what: { readonly id: string; readonly epoch: Epoch; readonly reach: Reach },
): string[] {
  const { id, epoch, reach } = what;
  const others = othersOf(inspection);
  const names = others.length > 0 ? ` (${others.join(", ")})` : "";
  return [
    `Recovered: view ${
      formatEpoch(epoch)
    }, in which ${id} is the only voter, the only server and the primary, with all up to index ${reach.lastIndex}.`,
    "",
    "Next:",
    `1. Make sure that none of the others${names} runs, or is started without reaching ${id}.`,
    `2. Start ${id} as ever, with the same configuration: it leads alone within a second. Look at it: skein status -c HOST:PORT`,
    "3. Move the data directories of the others away, and keep them until all is well. Start the others with empty ones: they copy everything, and vote and count again by themselves.",
    `   One that starts with its old directory joins as well, if ${id} has all that it has applied; else it says so and ends, or takes everything anew from ${id}.`,
    "Recover one server only. Until others have joined, the group survives no loss.",
  ];
}

function factsOf(inspection: Inspection): string[] {
  const { directory, kind, id, votes, snapshot, state } = inspection;
  const facts: [string, string][] = [
    ["Directory", `${directory}, of ${kind} ${id ?? "(name unknown)"}`],
    ["Store", votes.store ?? `none: ${votes.reason}`],
    ["Promised", `epoch ${formatEpoch(votes.promised)}`],
    ["Accepted", viewText(votes.accepted)],
  ];
  if (kind === "server") {
    const { mark } = state;
    facts.push(
      ["Log", logText(inspection)],
      [
        "State",
        mark === undefined
          ? "none; it is made from snapshot and log"
          : `applied up to ${mark.index}, hash ${mark.hash}`,
      ],
      ["Snapshot", snapshot === undefined ? "none" : `up to ${snapshot.index}`],
    );
  }
  const damages = damagesOf(inspection);
  facts.push(["Damage", damages.length === 0 ? "none" : damages.join("; ")]);
  return facts.map(([name, text]) => `${name.padEnd(10)} ${text}`);
}

function viewText(view: View | undefined): string {
  if (view === undefined) return "no view";
  const { epoch, members, voters, previousVoters, primary, reason } = view;
  const list = (stores: readonly StoreId[]) => namesOf(view, stores).join(", ");
  const before = previousVoters === undefined
    ? ""
    : `, before ${list(previousVoters)}`;
  return `view ${formatEpoch(epoch)}: ${list([primary])} leads ${
    list(members)
  }; voters ${list(voters)}${before}; ${reason}`;
}

function logText({ log: { isThere, base, last } }: Inspection): string {
  if (!isThere) return "none";
  if (last.index === base.index) {
    return last.index === 0 ? "empty" : `empty, after entry ${base.index}`;
  }
  return `entries ${base.index + 1} to ${last.index}, the last of epoch ${
    formatEpoch(last.epoch)
  }`;
}

function damagesOf(inspection: Inspection): string[] {
  const { votes, log, state, badSnapshots, kind } = inspection;
  const damages: string[] = [];
  if (log.damage !== undefined) {
    damages.push(`of the log only what is above is good: ${log.damage.reason}`);
  }
  if (kind === "server" && !log.isThere && votes.accepted !== undefined) {
    damages.push("the log is missing");
  }
  if (votes.isDamaged) {
    damages.push(
      "entries that it had acknowledged were lost, and not got back since",
    );
  }
  if (state.reason !== "") damages.push(state.reason);
  return [...damages, ...badSnapshots];
}

function hasLost({ votes, log, state }: Inspection): boolean {
  return votes.isDamaged || votes.store === undefined ||
    log.damage !== undefined || !log.isThere ||
    log.last.index < (state.mark?.index ?? 0);
}

/** What a server's data are worth, compared with what others may have. */
function worthOf(inspection: Inspection): string[] {
  const { votes: { accepted, promised, store }, log } = inspection;
  const reach = reachOf(inspection);
  if (reach === undefined) {
    return [
      `The log begins after entry ${log.base.index}, and neither state nor snapshot come so far: these data cannot be served.`,
    ];
  }
  const { committedIndex, lastIndex } = reach;
  const unknownFrom = isInSync(inspection) ? lastIndex + 1 : committedIndex + 1;
  const lines = [`${standingOf(inspection)}`];
  if (committedIndex < lastIndex) {
    lines.push(
      `Entries ${
        committedIndex + 1
      } to ${lastIndex} are in its log, and were perhaps never acknowledged; recovered by force, they count.`,
    );
  }
  const isAsked = accepted !== undefined &&
    compareEpochs(promised, accepted.epoch) > 0;
  if (isAsked) {
    lines.push(
      `It has promised epoch ${formatEpoch(promised)} since, to ${
        promiseeOf(inspection)
      }: a newer view of which it was not told is likely.`,
    );
  }
  const others = othersOf(inspection);
  const who = others.length > 0 ? ` (${others.join(", ")})` : "";
  const isAlone = isInSync(inspection) &&
    accepted?.voters.length === 1 && accepted.voters[0] === store;
  if (!isAlone) {
    lines.push(
      `Others${who} may have made later views without it; what was acknowledged from index ${unknownFrom} on it cannot know.`,
    );
  }
  return lines;
}

function standingOf(inspection: Inspection): string {
  const { id = "This server", votes: { accepted, store } } = inspection;
  if (accepted === undefined || store === undefined) {
    return `${id} knows no view: writes may be missing.`;
  }
  if (isInSync(inspection)) {
    return `${id} was in sync in that view: it has every write that was acknowledged in it, and before.`;
  }
  return accepted.members.includes(store)
    ? `${id} was in sync in that view, but has lost entries since: writes may be missing.`
    : `${id} was not in sync in that view, a learner at best: writes may be missing.`;
}

function promiseeOf({ votes: { accepted, promised, store } }: Inspection) {
  if (promised.store === store) return "a ballot of its own";
  return accepted?.nodes[promised.store]?.id ?? `store ${promised.store}`;
}

/** Who would have to be up for the group to start by itself, as far as this directory knows. */
function startNeeds(inspection: Inspection): string[] {
  const { votes: { accepted: view, store } } = inspection;
  if (view === undefined) {
    return [
      "It knows nobody to start with: the group starts without force when those are up that know its view.",
    ];
  }
  const isHolder = isInSync(inspection);
  const need = (voters: readonly StoreId[]) => {
    const others = voters.filter((one) => one !== store);
    const count = Math.floor(voters.length / 2) + 1 -
      (voters.length - others.length);
    const names = namesOf(view, others);
    if (count <= 0) return undefined;
    return count === names.length
      ? listOf(names)
      : `any ${count} of ${listOf(names)}`;
  };
  const { voters, previousVoters, members } = view;
  const sets = previousVoters === undefined
    ? [voters]
    : [voters, previousVoters];
  const needs = new Set(sets.map(need));
  const parts = [...needs].filter((text) => text !== undefined);
  const isVoter = sets.some((set) => set.some((one) => one === store));
  if (!isHolder) {
    const holders = namesOf(view, members.filter((one) => one !== store));
    parts.push(
      holders.length === 0
        ? "nobody else was in sync, so that it cannot"
        : `${
          holders.length === 1 ? holders[0] : `one of ${listOf(holders)}`
        }, in sync, must be among them`,
    );
  }
  const self = isVoter || isHolder ? "this one" : "";
  const whom = [self, parts.join("; ")].filter((text) => text !== "")
    .join(" and ");
  return [
    `Without force the group starts by itself when these are up: ${whom}.`,
    "If one of them knows a newer view, the members of that one count, and it says whom it waits for.",
  ];
}

/** Names for people, in order; where two stores have one name, with their ids. */
function namesOf(view: View, stores: readonly StoreId[]): string[] {
  const names = stores.map((store) => view.nodes[store]?.id ?? store);
  return names.map((name, at) =>
    names.indexOf(name) === names.lastIndexOf(name)
      ? name
      : `${name} (store ${stores[at]})`
  ).sort();
}

function listOf(names: readonly string[]): string {
  return names.join(", ");
}

/** Any message of a replicated group, for property tests. */

import fc from "fast-check";
import { compareEpochs, type Epoch } from "../../protocol/epoch.ts";
import type {
  LogEntry,
  LogPosition,
  ReplicaHello,
  ReplicaMessage,
} from "../../protocol/replica.ts";
import {
  NODES_MAX,
  REASON_CHARACTERS_MAX,
  type View,
} from "../../protocol/view.ts";

/** Any store. */
export const anyStore = fc.stringMatching(/^[0-9a-f]{16}$/);

/** Any epoch. */
export const anyEpoch: fc.Arbitrary<Epoch> = fc.record({
  counter: fc.maxSafeNat(),
  store: anyStore,
});

const count = fc.maxSafeNat();
const position: fc.Arbitrary<LogPosition> = fc.record({
  index: fc.nat(2 ** 50),
  epoch: anyEpoch,
});
const command = fc.uint8Array({ maxLength: 300, size: "max" });

/** Any view that makes sense. */
export const anyView: fc.Arbitrary<View> = fc.record({
  stores: fc.uniqueArray(anyStore, { minLength: 1, maxLength: NODES_MAX }),
  previous: fc.boolean(),
  epoch: anyEpoch,
  node: fc.record({
    id: fc.stringMatching(/^[A-Za-z0-9._:-]{1,64}$/),
    kind: fc.constantFrom("server" as const, "witness" as const),
    priority: fc.maxSafeInteger(),
  }),
  dice: fc.nat(),
  reason: fc.string({ maxLength: REASON_CHARACTERS_MAX }),
}).map(({ stores, previous, epoch, node, dice, reason }) => {
  const sorted = stores.toSorted();
  const members = sorted.filter((_, index) => ((dice >> index) & 1) === 0);
  if (members.length === 0) members.push(sorted[0]);
  return {
    epoch,
    group: sorted[0],
    voters: sorted,
    ...(previous && { previousVoters: sorted.slice(0, 1) }),
    members,
    primary: members[dice % members.length],
    nodes: Object.fromEntries(sorted.map((store) => [store, node])),
    reason,
  };
});

/** Entries that follow `previous`, of up to three epochs in ascending order. */
function entriesAfter(
  previous: LogPosition,
  parts: readonly { epoch: Epoch; commands: readonly Uint8Array[] }[],
): LogEntry[] {
  const entries: LogEntry[] = [];
  for (const { epoch, commands } of parts) {
    for (const command of commands) {
      const index = previous.index + 1 + entries.length;
      entries.push({ index, epoch, command });
    }
  }
  return entries;
}

/** The same with these epochs in ascending order, as in every log. */
function ascending<Part extends { readonly epoch: Epoch }>(
  parts: readonly Part[],
): Part[] {
  const epochs = parts.map(({ epoch }) => epoch).sort(compareEpochs);
  return parts.map((part, at) => ({ ...part, epoch: epochs[at] }));
}

const parts = fc.array(
  fc.record({ epoch: anyEpoch, commands: fc.array(command) }),
  { maxLength: 3 },
);
const kind = <Kind extends string>(name: Kind) => fc.constant(name);
const perhaps = <T>(value: fc.Arbitrary<T>) =>
  fc.option(value, { nil: undefined });

/** Any message. */
export const anyMessage: fc.Arbitrary<ReplicaMessage> = fc.oneof(
  fc.record({
    epoch: anyEpoch,
    previous: position,
    commit: count,
    parts,
    own: fc.array(command),
  }).map(({ epoch, previous, commit, parts, own }) => {
    const before = { epoch: previous.epoch, commands: [] };
    const [first, ...rest] = ascending([
      before,
      ...parts,
      { epoch, commands: own },
    ]);
    return {
      kind: "append" as const,
      epoch: rest[rest.length - 1].epoch,
      previous: { index: previous.index, epoch: first.epoch },
      commit,
      entries: entriesAfter(previous, rest),
    };
  }),
  fc.tuple(position, parts).map(([before, parts]) => ({
    kind: "fetched" as const,
    entries: entriesAfter(before, ascending(parts)),
  })),
  fc.record({ kind: kind("appended"), epoch: anyEpoch, index: count }),
  fc.record({
    kind: kind("heartbeat"),
    epoch: anyEpoch,
    round: count,
    commit: count,
    isWritable: fc.boolean(),
  }),
  fc.record({
    kind: kind("heartbeat-answer"),
    epoch: anyEpoch,
    round: count,
    reachesAll: fc.boolean(),
    isDraining: fc.boolean(),
  }),
  fc.record({ kind: kind("forward"), commands: fc.array(command) }),
  fc.record({ kind: kind("pre-vote"), round: count }),
  fc.record({
    kind: kind("pre-vote-answer"),
    round: count,
    granted: fc.boolean(),
    promised: anyEpoch,
    accepted: perhaps(anyView),
  }),
  fc.record({ kind: kind("prepare"), epoch: anyEpoch }),
  fc.record({
    kind: kind("promise"),
    epoch: anyEpoch,
    accepted: perhaps(anyView),
    last: perhaps(position),
    isDraining: fc.boolean(),
    isDamaged: fc.boolean(),
  }),
  fc.record({ kind: kind("refuse"), epoch: anyEpoch, promised: anyEpoch }),
  fc.record({ kind: kind("accept"), view: anyView }),
  fc.record({ kind: kind("accepted"), epoch: anyEpoch }),
  fc.record({ kind: kind("active"), view: anyView }),
  fc.record({ kind: kind("unaware"), epoch: anyEpoch }),
  fc.record({ kind: kind("election") }),
  fc.record({ kind: kind("alive") }),
  fc.record({
    kind: kind("mismatch"),
    epoch: anyEpoch,
    previous: position,
    hint: position,
  }),
  fc.record({ kind: kind("read-index"), token: count }),
  fc.record({
    kind: kind("read-index-answer"),
    token: count,
    index: perhaps(count),
  }),
  fc.record({ kind: kind("snapshot-needed"), epoch: anyEpoch, index: count }),
  fc.record({
    kind: kind("leaving"),
    reason: fc.string({ maxLength: REASON_CHARACTERS_MAX }),
    isForGood: fc.boolean(),
  }),
  fc.record({ kind: kind("fetch"), from: count, to: count }),
);

/** Any hello. */
export const anyHello: fc.Arbitrary<ReplicaHello> = fc.record({
  store: anyStore,
  kind: fc.constantFrom("server" as const, "witness" as const),
  priority: fc.maxSafeInteger(),
  group: perhaps(anyStore),
  clientAddress: perhaps(
    fc.constantFrom("127.0.0.1:8091", "[::1]:1", "lab3.example:65535"),
  ),
});

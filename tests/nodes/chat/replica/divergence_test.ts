import { assert, assertEquals, assertMatch } from "@std/assert";
import {
  DEFAULT_TIMING,
  type Peer,
  type ReplicaEffect,
  type ReplicaInput,
} from "../../../../nodes/chat/replica/contract.ts";
import { ReplicaCore } from "../../../../nodes/chat/replica/core.ts";
import { type Epoch, EPOCH_NONE } from "../../../../protocol/epoch.ts";
import type { LogEntry, LogPosition } from "../../../../protocol/replica.ts";
import type { AcceptorState, View } from "../../../../protocol/view.ts";

const A = "00000000000000aa";
const B = "00000000000000bb";

const OLD: Epoch = { counter: 5, store: B };
const NEW: Epoch = { counter: 1_000_005, store: A };

const at = (index: number, epoch: Epoch): LogPosition => ({ index, epoch });

function viewOf(epoch: Epoch, primary: string): View {
  const nodes: View["nodes"] = {
    [A]: { id: "a", kind: "server", priority: 0 },
    [B]: { id: "b", kind: "server", priority: 0 },
  };
  const voters = epoch === OLD ? [A, B] : [A];
  return {
    epoch,
    group: A,
    voters,
    members: voters,
    primary,
    nodes,
    reason: "",
  };
}

function peerOf(id: string, store: string): Peer {
  const incarnation = store;
  return { id, store, incarnation, kind: "server", priority: 0, group: A };
}

/** B, whose snapshot stands for all up to 90 and whose log goes on to 100; it follows A now. */
class OldServer {
  readonly #core = new ReplicaCore({
    self: peerOf("b", B),
    founders: [],
    sticky: false,
    timing: DEFAULT_TIMING,
    seed: 1,
  });

  readonly #epoch: Epoch;

  /** @param epoch Of the view that A leads. */
  constructor(epoch: Epoch, votes: Partial<AcceptorState> = {}) {
    this.#epoch = epoch;
    this.step({
      kind: "start",
      acceptor: {
        promised: OLD,
        accepted: viewOf(OLD, B),
        isDamaged: false,
        ...votes,
      },
      log: { base: at(90, OLD), runs: [at(91, OLD)], lastIndex: 100 },
    });
    const view = viewOf(epoch, A);
    this.step({ kind: "peer-up", peer: peerOf("a", A) });
    this.step({ kind: "message", from: A, message: { kind: "active", view } });
  }

  /** What it does, all saves and writes being done at once. */
  step(input: ReplicaInput): ReplicaEffect[] {
    const effects = this.#core.step(input, 0);
    const more = effects.flatMap((effect) => {
      if (effect.kind === "save") {
        return this.step({ kind: "saved", number: effect.number });
      }
      if (effect.kind === "append" || effect.kind === "cut") {
        return this.step({ kind: "durable", write: effect.write });
      }
      return [];
    });
    return [...effects, ...more];
  }

  append(previous: LogPosition, ...epochs: readonly Epoch[]): ReplicaEffect[] {
    const entries = epochs.map((epoch, i): LogEntry => ({
      index: previous.index + 1 + i,
      epoch,
      command: new Uint8Array(1),
    }));
    return this.step({
      kind: "message",
      from: A,
      message: {
        kind: "append",
        epoch: this.#epoch,
        previous,
        commit: 0,
        entries,
      },
    });
  }
}

const CONTRADICTIONS: Record<string, () => ReplicaEffect[]> = {
  "its primary's log ends before its base": () =>
    new OldServer(NEW).append(at(85, NEW)),
  "another entry where its base is, before new ones": () =>
    new OldServer(NEW).append(at(90, NEW), NEW),
  "another entry where its base is, among new ones": () =>
    new OldServer(NEW).append(at(88, OLD), OLD, NEW, NEW),
  "other entries before its base": () =>
    new OldServer(NEW).append(at(80, OLD), NEW, NEW),
};

for (const [what, meet] of Object.entries(CONTRADICTIONS)) {
  Deno.test(`divergence: ${what}: it ends, and writes and answers nothing`, () => {
    const effects = meet();
    const [fatal] = effects.filter(({ kind }) => kind === "fatal");
    assert(fatal?.kind === "fatal");
    assertMatch(fatal.reason, /up to 90 .* recovered by force/);
    for (const { kind } of effects) {
      assert(kind !== "append" && kind !== "cut" && kind !== "send", kind);
    }
  });
}

Deno.test("divergence: what was not applied is cut off", () => {
  const effects = new OldServer(NEW).append(at(95, OLD), NEW);
  const kinds = effects.map(({ kind }) => kind);
  assertEquals(kinds.slice(0, 2), ["cut", "append"]);
  assert(effects[0].kind === "cut" && effects[0].after === 95);
  assert(kinds.includes("send"));
});

Deno.test("divergence: a primary from before the base was committed is not listened to", () => {
  const older: Epoch = { counter: 3, store: A };
  // A store that lost its votes and kept its log follows whoever comes first.
  const promised = EPOCH_NONE;
  const server = new OldServer(older, { promised, accepted: undefined });
  assertEquals(server.append(at(85, older)), []);
});

/** Cores of a group that hear each other at once, on disks that are never slow. */

import { assert } from "@std/assert";
import {
  DEFAULT_TIMING,
  type Peer,
  type ReplicaEffect,
  type ReplicaInput,
  type ReplicaOptions,
} from "../../../../nodes/chat/replica/contract.ts";
import { ReplicaCore } from "../../../../nodes/chat/replica/core.ts";
import { EPOCH_NONE, type StoreId } from "../../../../protocol/epoch.ts";
import type { LogEntry } from "../../../../protocol/replica.ts";
import type { View } from "../../../../protocol/view.ts";

/** How much time passes between two looks at the clock, in ms. */
const STEP_MS = 5;

/** Inputs handled at one moment; more is a quarrel without end. */
const INPUTS_MAX = 100_000;

/** One node. */
export class CoreNode {
  readonly peer: Peer;
  readonly core: ReplicaCore;
  readonly notes: string[] = [];
  readonly committed: string[] = [];
  hasLeft = false;
  /** The newest view that it knows to be active. */
  view: View | undefined;
  /** Its log; the first entry has index 1. */
  readonly log: LogEntry[] = [];
  group: StoreId | undefined;

  constructor(id: string, options: Partial<ReplicaOptions> = {}) {
    this.peer = {
      ...{ id, kind: "server", priority: 0, store: storeOf(id) },
      ...{ incarnation: storeOf(id), group: undefined },
    };
    this.core = new ReplicaCore({
      ...{ self: this.peer, founders: [], sticky: false, seed: 1 },
      timing: DEFAULT_TIMING,
      ...options,
    });
  }
}

/** The store of a node with a name of one letter. */
export function storeOf(id: string): StoreId {
  return id.charCodeAt(0).toString(16).padStart(16, "0");
}

/** All nodes, their links and their clock. */
export class CoreGroups {
  nowMs = 0;
  readonly #nodes = new Map<StoreId, CoreNode>();
  readonly #links = new Set<string>();
  readonly #queue: { to: CoreNode; input: ReplicaInput }[] = [];

  /** Starts a node that has nothing and knows nobody. */
  start(id: string, options: Partial<ReplicaOptions> = {}): CoreNode {
    const node = new CoreNode(id, options);
    this.#nodes.set(node.peer.store, node);
    this.tell(node, {
      kind: "start",
      acceptor: { promised: EPOCH_NONE, accepted: undefined, isDamaged: false },
      log: { base: { index: 0, epoch: EPOCH_NONE }, runs: [], lastIndex: 0 },
    });
    return node;
  }

  /** Makes a link between each two of these. */
  link(...nodes: readonly CoreNode[]): void {
    this.#link(nodes, (node) => node.group);
  }

  /** The same, of nodes that said who they are before they had a group. */
  linkUnknowing(...nodes: readonly CoreNode[]): void {
    this.#link(nodes, () => undefined);
  }

  #link(
    nodes: readonly CoreNode[],
    groupOf: (node: CoreNode) => StoreId | undefined,
  ): void {
    for (const one of nodes) {
      for (const other of nodes) {
        if (one === other || this.#isLinked(one, other)) continue;
        this.#links.add(wordOf(one, other));
        const peer = { ...other.peer, group: groupOf(other) };
        this.#queue.push({ to: one, input: { kind: "peer-up", peer } });
      }
    }
    this.#drain();
  }

  /** Ends all links of a node: the others hear why. */
  cut(node: CoreNode, reason: string): void {
    for (const other of this.#nodes.values()) {
      if (!this.#isLinked(other, node)) continue;
      for (const [one, of] of [[other, node], [node, other]]) {
        this.#links.delete(wordOf(one, of));
        const { store } = of.peer;
        this.#queue.push({
          to: one,
          input: { kind: "peer-down", store, reason },
        });
      }
    }
    this.#drain();
  }

  /** Ends a node, and with it its links. */
  kill(node: CoreNode): void {
    this.cut(node, "connection reset");
    this.#nodes.delete(node.peer.store);
  }

  /** Gives a node an input, and handles all that follows from it at this moment. */
  tell(node: CoreNode, input: ReplicaInput): void {
    this.#queue.push({ to: node, input });
    this.#drain();
  }

  /** Lets time pass until it is so. */
  until(what: string, isSo: () => boolean, withinMs = 30_000): void {
    const endMs = this.nowMs + withinMs;
    while (!isSo()) {
      const seen = [...this.#nodes.values()].map(({ core }) => core.describe());
      assert(this.nowMs < endMs, `${what} does not come:\n${seen.join("\n")}`);
      this.pass(STEP_MS);
    }
  }

  /** Lets time pass. */
  pass(ms: number): void {
    const endMs = this.nowMs + ms;
    while (this.nowMs < endMs) {
      this.nowMs += STEP_MS;
      for (const to of this.#nodes.values()) {
        this.#queue.push({ to, input: { kind: "wake" } });
      }
      this.#drain();
    }
  }

  #isLinked(one: CoreNode, other: CoreNode): boolean {
    return this.#links.has(wordOf(one, other));
  }

  #drain(): void {
    for (let count = 0; this.#queue.length > 0; count += 1) {
      assert(count < INPUTS_MAX, "the nodes never come to an end");
      const next = this.#queue.shift();
      if (next === undefined) return;
      for (const effect of next.to.core.step(next.input, this.nowMs)) {
        this.#act(next.to, effect);
      }
    }
  }

  #act(node: CoreNode, effect: ReplicaEffect): void {
    const answer = (input: ReplicaInput) =>
      this.#queue.push({ to: node, input });
    switch (effect.kind) {
      case "send": {
        const to = this.#nodes.get(effect.to);
        if (to === undefined || !this.#isLinked(to, node)) return;
        const { message } = effect;
        const from = node.peer.store;
        this.#queue.push({ to, input: { kind: "message", from, message } });
        return;
      }
      case "save":
        node.group = effect.state.accepted?.group;
        answer({ kind: "saved", number: effect.number });
        return;
      case "append":
        node.log.push(...effect.entries);
        answer({ kind: "durable", write: effect.write });
        return;
      case "cut":
        node.log.length = effect.after;
        answer({ kind: "durable", write: effect.write });
        return;
      case "read-log": {
        const { to, from } = effect;
        const entries = node.log.slice(from - 1);
        answer({ kind: "log-read", to, from, entries });
        return;
      }
      case "commit":
        while (node.committed.length < effect.index) {
          const { command } = node.log[node.committed.length];
          node.committed.push(new TextDecoder().decode(command));
        }
        return;
      case "group":
        node.view = effect.state.view;
        return;
      case "note":
        node.notes.push(effect.text);
        return;
      case "left":
        node.hasLeft = true;
        return;
      default:
        assert(effect.kind !== "fatal" && effect.kind !== "fetch-snapshot");
    }
  }
}

function wordOf(one: CoreNode, other: CoreNode): string {
  return `${one.peer.store} hears ${other.peer.store}`;
}

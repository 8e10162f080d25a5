/** A core of discovery and its clock, and what nodes around it say. */

import { DiscoveryCore } from "../../election/discovery.ts";
import type {
  DiscoveryEffect,
  DiscoveryInput,
  OwnGroup,
} from "../../election/discovery_contract.ts";
import type { Advert, AdvertGroup } from "../../protocol/discovery.ts";
import type { NodeInfo } from "../../protocol/view.ts";

/** Waits, in ms. */
export const TIMING = { askMs: 100, calmMs: 2_000, foundMs: 500 };
/** How long a group counts as heard. */
export const LATELY_MS = 5 * TIMING.askMs;
/** How long a node is remembered that is silent. */
export const KEPT_MS = 4 * TIMING.calmMs;
/** Longer than any wait to found, and than two more of them. */
export const FOUND_MS_MAX = 2 * TIMING.foundMs + 1;

/** A store, or a group, by a letter. */
export function store(letter: string): string {
  return letter.repeat(16);
}

/** A server, unless it is said otherwise. */
export function node(id: string, change: Partial<NodeInfo> = {}): NodeInfo {
  return { id, kind: "server", priority: 0, ...change };
}

/** Told by a group that is named by a letter, and led by the node of that letter and 1. */
export function groupAdvert(
  letter: string,
  change: Partial<AdvertGroup> = {},
): AdvertGroup {
  return {
    id: store(letter),
    isVoid: true,
    isWorking: true,
    epoch: { counter: 1, store: store(letter) },
    leader: { id: `${letter}1`, priority: 0 },
    members: 1,
    voters: 1,
    ...change,
  };
}

/** What a node without a group says. */
export function advert(id: string, change: Partial<Advert> = {}): Advert {
  return {
    service: "chat",
    cluster: "test",
    id,
    kind: "server",
    priority: 0,
    store: `${id}${"0".repeat(16)}`.slice(0, 16),
    incarnation: store("9"),
    peers: { port: 8_081 },
    dissolved: [],
    isOpen: true,
    ...change,
  };
}

/** The group of the node itself: empty, and led by it. */
export function ownGroup(
  letter: string,
  change: Partial<OwnGroup> = {},
): OwnGroup {
  return {
    id: store(letter),
    isVoid: true,
    isAppliedVoid: true,
    isActive: true,
    isLeader: true,
    epoch: { counter: 1, store: store(letter) },
    leader: node("m1"),
    hasWitness: false,
    isIndispensable: false,
    ...change,
  };
}

type Kind = DiscoveryEffect["kind"];

/** A core and its clock; all effects are kept until they are taken. */
export class Scene {
  nowMs = 1_000;
  readonly core: DiscoveryCore;
  #effects: DiscoveryEffect[] = [];

  constructor(
    options: {
      self?: NodeInfo;
      group?: OwnGroup;
      dissolved?: readonly string[];
      seed?: number;
    } = {},
  ) {
    this.core = new DiscoveryCore({
      self: options.self ?? node("m1"),
      store: store("e"),
      timing: TIMING,
      dissolved: options.dissolved ?? [],
      seed: options.seed ?? 1,
    });
    this.step({ kind: "start", group: options.group });
  }

  step(input: DiscoveryInput): void {
    this.#effects.push(...this.core.step(input, this.nowMs));
  }

  hear(said: Advert, host = "10.0.0.2"): void {
    const address = { host, port: said.peers.port };
    this.step({ kind: "heard", advert: said, peers: address });
  }

  /** Time passes, and the host wakes the core when it wants to. */
  pass(ms: number): void {
    const untilMs = this.nowMs + ms;
    while (this.core.wakeAtMs <= untilMs) {
      this.nowMs = this.core.wakeAtMs;
      this.step({ kind: "wake" });
    }
    this.nowMs = untilMs;
  }

  /** Time passes, and all these are heard again each 50 ms. */
  passHearing(ms: number, said: readonly Advert[]): void {
    for (const untilMs = this.nowMs + ms; this.nowMs < untilMs;) {
      for (const each of said) this.hear(each);
      this.pass(50);
    }
  }

  /** All effects of one kind since they were last taken; those of other kinds stay. */
  take<Wanted extends Kind>(
    kind: Wanted,
  ): Extract<DiscoveryEffect, { kind: Wanted }>[] {
    type Effect = Extract<DiscoveryEffect, { kind: Wanted }>;
    const isWanted = (effect: DiscoveryEffect): effect is Effect =>
      effect.kind === kind;
    const taken = this.#effects.filter(isWanted);
    this.#effects = this.#effects.filter((effect) => !isWanted(effect));
    return taken;
  }

  met(): string[] {
    return this.take("meet").map(({ id }) => id);
  }

  warnings(): string[] {
    return this.take("note").filter(({ level }) => level === "warn")
      .map(({ text }) => text);
  }
}

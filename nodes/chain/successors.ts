/** Which of several successors the traffic goes to. */

import type { Route, RouteNode } from "../../protocol/chain.ts";
import type { LinkId } from "../../protocol/core.ts";
import type { WireCode } from "../../protocol/errors.ts";
import { ROUTE_NODES_MAX } from "../../protocol/limits.ts";

/** Why something does not work, for people and programs. */
export interface Problem {
  readonly code: WireCode;
  readonly text: string;
}

interface Target {
  readonly label: string;
  link: LinkId | undefined;
  route: Route | undefined;
  problem: Problem | undefined;
  /** Attempts to reach it since it last was of use. */
  attempts: number;
  /** Since when its link is known to stand. */
  standsSinceMs: number | undefined;
}

/** A link that stands for so long is of use, though nothing is sent on it. */
const LASTING_MS = 1_000;

/** What is to be done about the traffic. */
export type Choice =
  /** As before. */
  | { readonly kind: "stay" }
  /** Nothing can be sent now. */
  | { readonly kind: "none" }
  /** Send to this target from the oldest unacknowledged byte on, at once. */
  | { readonly kind: "switch"; readonly target: number }
  /** As `switch`, once what the present target has is acknowledged. */
  | { readonly kind: "return"; readonly target: number };

/**
 * Keeps a link to every successor in the list and chooses the first that leads
 * to a tail. Pure bookkeeping: the core tells it what happens and asks.
 */
export class Successors {
  readonly #self: RouteNode;
  readonly #nextTimeoutMs: number;
  readonly #targets: Target[];
  /** Index of the target the traffic goes to. */
  active: number | undefined;
  /** Since when the traffic goes nowhere, or to where no tail is. */
  #awaySinceMs: number | undefined;

  constructor(
    options: {
      self: RouteNode;
      targets: readonly string[];
      nextTimeoutMs: number;
    },
  ) {
    this.#self = options.self;
    this.#nextTimeoutMs = options.nextTimeoutMs;
    this.#targets = options.targets.map((label) => ({
      label,
      link: undefined,
      route: undefined,
      problem: undefined,
      attempts: 0,
      standsSinceMs: undefined,
    }));
  }

  /** Number of targets; 0 for the tail. */
  get count(): number {
    return this.#targets.length;
  }

  /** The link that the traffic goes to. */
  get activeLink(): LinkId | undefined {
    return this.active === undefined
      ? undefined
      : this.#targets[this.active].link;
  }

  /** Address of a target, as given. */
  label(target: number): string {
    return this.#targets[target].label;
  }

  /** Counts an attempt to reach `target`; 0 for the first. */
  nextAttempt(target: number): number {
    const entry = this.#targets[target];
    entry.attempts += 1;
    return entry.attempts - 1;
  }

  /** A link to `target` stands; it is used once its route is known. */
  connected(target: number, link: LinkId): void {
    const entry = this.#targets[target];
    entry.link = link;
    entry.route = undefined;
    entry.standsSinceMs = undefined;
  }

  /**
   * The target has acknowledged something: the next attempt is a first one.
   * Its route does not say as much: a node that is full tells it as well,
   * before it says so.
   */
  acknowledged(target: number): void {
    this.#targets[target].attempts = 0;
  }

  /** Why `target` cannot be used, if so. */
  problem(target: number): Problem | undefined {
    return this.#targets[target].problem;
  }

  /** The link to `target` is gone, or could not be made. */
  lost(target: number, problem: Problem | undefined): void {
    const entry = this.#targets[target];
    entry.link = undefined;
    entry.route = undefined;
    entry.problem = problem;
    if (this.active === target) this.active = undefined;
  }

  /** The target says how it reaches the tail. */
  routed(target: number, route: Route): void {
    const entry = this.#targets[target];
    const { nodes } = route;
    entry.route = route;
    entry.problem = undefined;
    const isCycle = nodes.some((node) =>
      node.incarnation === this.#self.incarnation
    );
    if (!isCycle && nodes.length < ROUTE_NODES_MAX) return;
    const path = [this.#self, ...nodes].map((node) => node.id).join(" -> ");
    entry.problem = {
      code: "cycle",
      text: isCycle
        ? `The chain is a cycle: ${path}`
        : `The chain has more than ${ROUTE_NODES_MAX} nodes: ${path}`,
    };
    if (this.active === target) this.active = undefined;
  }

  /** What to do now; call after every change and at {@linkcode wakeAtMs}. */
  choose(nowMs: number): Choice {
    for (const entry of this.#targets) {
      if (entry.link === undefined) continue;
      entry.standsSinceMs ??= nowMs;
      if (nowMs - entry.standsSinceMs >= LASTING_MS) entry.attempts = 0;
    }
    const best = this.#targets.findIndex((_, index) =>
      this.#reachesTail(index)
    );
    const active = this.active;
    if (active !== undefined && this.#reachesTail(active)) {
      this.#awaySinceMs = undefined;
      return best < active
        ? { kind: "return", target: best }
        : { kind: "stay" };
    }
    this.#awaySinceMs ??= nowMs;
    const isLate = nowMs - this.#awaySinceMs >= this.#nextTimeoutMs;
    if (best === 0 || (best > 0 && isLate)) {
      this.#awaySinceMs = undefined;
      return { kind: "switch", target: best };
    }
    if (active !== undefined) return { kind: "stay" };
    // Nothing leads to a tail: at least hand over as far as it goes.
    if (this.#isUsable(0)) return { kind: "switch", target: 0 };
    return { kind: "none" };
  }

  /** When to call {@linkcode choose} again though nothing happens. */
  get wakeAtMs(): number | undefined {
    return this.#awaySinceMs === undefined || this.count < 2
      ? undefined
      : this.#awaySinceMs + this.#nextTimeoutMs;
  }

  /** This node's own route, as it is told to those before it. */
  route(): Route {
    if (this.count === 0) return { nodes: [this.#self], complete: true };
    const shown = this.#targets[this.active ?? 0];
    const { route, problem } = shown;
    if (route !== undefined && problem === undefined) {
      return {
        nodes: [this.#self, ...route.nodes].slice(0, ROUTE_NODES_MAX),
        complete: route.complete,
        ...(route.problem !== undefined && { problem: route.problem }),
      };
    }
    return {
      nodes: [this.#self],
      complete: false,
      problem: problem ?? {
        code: "link-lost",
        text: `${this.#self.id} is connecting to ${shown.label}`,
      },
    };
  }

  #isUsable(target: number): boolean {
    const { link, route, problem } = this.#targets[target];
    return link !== undefined && route !== undefined && problem === undefined;
  }

  #reachesTail(target: number): boolean {
    return this.#isUsable(target) &&
      this.#targets[target].route?.complete === true;
  }
}

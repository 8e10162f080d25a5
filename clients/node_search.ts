/** Looks for nodes, again and again, until somebody has seen enough. */

import type { ServiceName } from "../protocol/discovery.ts";
import type {
  Finder,
  FinderCounters,
  Sighting,
} from "../nodes/host/discovery/finder.ts";
import { openFinder } from "../nodes/host/discovery/open_finder.ts";
import type { Log } from "../nodes/host/log.ts";
import { type FoundNodes, foundNodes } from "./found_groups.ts";
import type { SearchSettings } from "./where_flags.ts";

/** When to ask for the second time; each time later by half as much again. */
const ASK_AGAIN_MS = 150;

/** How often to ask at least; give or take a half. */
const ASK_EVERY_MS = 2_000;

/** How long to wait for others once a group has answered. */
const OTHERS_WAIT_MS = 250;

/** Nodes remembered; beyond it the one that was quiet for longest is forgotten. */
const NODES_SIGHTED_MAX = 256;

/** How long a node is remembered that answers no more. */
const SIGHTING_AGE_MS_MAX = 7_000;

/** What to look for. */
export interface NodeSearchOptions extends Omit<SearchSettings, "cluster"> {
  /** Undefined: nodes of every one. */
  readonly service: ServiceName | undefined;
  readonly cluster: string | undefined;
  readonly log: Log;
  /** Somebody has answered. */
  onSighting?(): void;
}

interface Seen {
  readonly sighting: Sighting;
  readonly atMs: number;
}

/** Asks from its making until it is closed. */
export class NodeSearch implements Disposable {
  readonly #finder: Finder;
  readonly #onSighting: () => void;
  /** By service, cluster, store and id; the one longest quiet first. */
  readonly #seen = new Map<string, Seen>();
  #waitMs = ASK_AGAIN_MS;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #wake: () => void = () => {};
  #isClosed = false;

  constructor(options: NodeSearchOptions) {
    const { where, service, cluster, key, log } = options;
    this.#onSighting = options.onSighting ?? (() => {});
    this.#finder = openFinder({
      where,
      ...service !== undefined && { service },
      ...cluster !== undefined && { cluster },
      ...key !== undefined && { key },
      onSighting: (sighting) => this.#take(sighting),
      log,
    });
    this.#ask();
  }

  /** Who has answered lately. */
  get found(): FoundNodes {
    const sinceMs = performance.now() - SIGHTING_AGE_MS_MAX;
    for (const [name, { atMs }] of this.#seen) {
      if (atMs < sinceMs) this.#seen.delete(name);
    }
    return foundNodes(
      Array.from(this.#seen.values(), ({ sighting }) => sighting),
    );
  }

  get counters(): FinderCounters {
    return this.#finder.counters;
  }

  /**
   * Waits for a group or a mesh, and a little longer for others.
   *
   * @returns Who is there then, or after `waitMs`; perhaps nobody.
   */
  async firstGroup(waitMs: number): Promise<FoundNodes> {
    const endMs = performance.now() + waitMs;
    const hasGroup = () => {
      const { groups, meshes } = this.found;
      return groups.length + meshes.length > 0;
    };
    while (!hasGroup() && !this.#isClosed) {
      const leftMs = endMs - performance.now();
      if (leftMs <= 0) return this.found;
      await this.#next(leftMs);
    }
    const othersMs = performance.now() + OTHERS_WAIT_MS;
    for (;;) {
      const leftMs = othersMs - performance.now();
      if (leftMs <= 0 || this.#isClosed) return this.found;
      await this.#next(leftMs);
    }
  }

  /** Resolves once each of these ways has led to a node, or after `waitMs`. */
  async allOf(ways: readonly string[], waitMs: number): Promise<void> {
    const endMs = performance.now() + waitMs;
    const hasAll = () => {
      const led = Array.from(
        this.#seen.values(),
        ({ sighting }) => sighting.via,
      );
      return ways.every((way) => led.includes(way));
    };
    while (!hasAll() && !this.#isClosed) {
      const leftMs = endMs - performance.now();
      if (leftMs <= 0) return;
      await this.#next(leftMs);
    }
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#finder.close();
    this.#wake();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #ask(): void {
    this.#finder.ask();
    const waitMs = this.#waitMs * (0.5 + Math.random());
    this.#waitMs = Math.min(ASK_EVERY_MS, this.#waitMs * 1.5);
    this.#timer = setTimeout(() => this.#ask(), waitMs);
  }

  #take(sighting: Sighting): void {
    if (this.#isClosed) return;
    const { service, cluster, store, id } = sighting.advert;
    const name = `${service} ${cluster} ${store} ${id}`;
    this.#seen.delete(name);
    if (this.#seen.size >= NODES_SIGHTED_MAX) {
      const [oldest] = this.#seen.keys();
      this.#seen.delete(oldest);
    }
    this.#seen.set(name, { sighting, atMs: performance.now() });
    this.#wake();
    this.#onSighting();
  }

  /** Waits until somebody answers, at most so long. */
  async #next(waitMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, waitMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

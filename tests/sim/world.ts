/** Simulated time, and processes that crash, freeze and come back in it. */

import type { Random } from "./random.ts";

interface Event {
  readonly atMs: number;
  readonly order: number;
  readonly act: () => void;
}

/** Runs events in the order of their time; equal times in the order given. */
export class World {
  readonly random: Random;
  nowMs = 0;
  /** Events run so far. */
  steps = 0;
  /** What happened, newest last, when kept. */
  readonly transcript: string[] = [];
  readonly #keepsTranscript: boolean;
  readonly #heap: Event[] = [];
  #order = 0;

  constructor(random: Random, options: { transcript: boolean }) {
    this.random = random;
    this.#keepsTranscript = options.transcript;
  }

  /** Adds a line to the transcript; `text` is only made when it is kept. */
  note(text: () => string): void {
    if (!this.#keepsTranscript) return;
    this.transcript.push(`${this.nowMs.toFixed(1).padStart(9)} ${text()}`);
  }

  schedule(afterMs: number, act: () => void): void {
    const event = { atMs: this.nowMs + afterMs, order: this.#order++, act };
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(event, heap[parent])) break;
      heap[at] = heap[parent];
      at = parent;
    }
    heap[at] = event;
  }

  /** Runs until `untilMs`, or until `isOver` says so after an event. */
  run(untilMs: number, isOver: () => boolean = () => false): void {
    while (this.#heap.length > 0 && this.#heap[0].atMs <= untilMs) {
      const event = this.#pop();
      this.nowMs = event.atMs;
      this.steps += 1;
      event.act();
      if (isOver()) return;
    }
    this.nowMs = Math.max(this.nowMs, untilMs);
  }

  #pop(): Event {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1], heap[child])) {
        child += 1;
      }
      if (!isBefore(heap[child], last)) break;
      heap[at] = heap[child];
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

/**
 * One process on one machine. What it has scheduled dies with its crash, and
 * waits while it is frozen.
 */
export class Machine {
  readonly name: string;
  readonly world: World;
  isUp = true;
  /** Since when it runs, or is stopped, without a break; and for how long it was stopped before. */
  awakeSinceMs = 0;
  asleepMs = 0;
  #life = 0;
  #isFrozen = false;
  #held: (() => void)[] = [];

  constructor(world: World, name: string) {
    this.world = world;
    this.name = name;
  }

  get isFrozen(): boolean {
    return this.#isFrozen;
  }

  /** Does `act` after a time, unless the process has crashed by then. */
  later(afterMs: number, act: () => void): void {
    const life = this.#life;
    this.world.schedule(afterMs, () => this.#do(life, act));
  }

  crash(): void {
    this.world.note(() => `${this.name} CRASH`);
    this.isUp = false;
    this.#life += 1;
    this.#isFrozen = false;
    this.#held = [];
  }

  restart(): void {
    this.world.note(() => `${this.name} restart`);
    this.isUp = true;
    this.awakeSinceMs = this.world.nowMs;
    this.asleepMs = 0;
  }

  freeze(): void {
    this.world.note(() => `${this.name} freeze`);
    this.#isFrozen = true;
    this.awakeSinceMs = this.world.nowMs;
  }

  thaw(): void {
    this.world.note(() => `${this.name} thaw`);
    this.#isFrozen = false;
    this.asleepMs = this.world.nowMs - this.awakeSinceMs;
    this.awakeSinceMs = this.world.nowMs;
    const held = this.#held;
    this.#held = [];
    const life = this.#life;
    for (const act of held) {
      this.world.schedule(0, () => this.#do(life, act));
    }
  }

  #do(life: number, act: () => void): void {
    if (life !== this.#life || !this.isUp) return;
    if (this.#isFrozen) this.#held.push(act);
    else act();
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

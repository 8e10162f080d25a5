/** The clock of a simulated machine, and the timer of a core that runs by it. */

import type { Machine, World } from "./world.ts";

/** A timer comes this late, at most. */
const TIMER_LATE_MS_MAX = 2;
/** More steps at one moment than this: the core asks to be woken without end. */
const WAKES_AT_ONCE_MAX = 100;

/** Runs from another origin than the world's time, and a little faster or slower. */
export class SkewedClock {
  readonly rate: number;
  readonly #world: World;
  readonly #offsetMs: number;

  constructor(world: World) {
    const { random } = world;
    this.#world = world;
    this.#offsetMs = random.int(1_000_000);
    this.rate = random.chance(0.8)
      ? 0.98 + random.next() * 0.04
      : 0.7 + random.next() * 0.8;
  }

  get nowMs(): number {
    return this.#offsetMs + this.#world.nowMs * this.rate;
  }
}

/** What makes the timer of one core. */
export interface CoreTimerParts {
  readonly machine: Machine;
  readonly clock: SkewedClock;
  /** When the core is to be woken, by that clock. */
  wakeAtMs(): number;
  wake(): void;
  /** The core is woken without end. */
  spins(): void;
}

/** Lives as long as its process. */
export class CoreTimer {
  readonly #parts: CoreTimerParts;
  #atMs = Infinity;
  #number = 0;
  #wokenAtMs = -1;
  #wakesAtOnce = 0;

  constructor(parts: CoreTimerParts) {
    this.#parts = parts;
  }

  /** To be called after each step. */
  arm(): void {
    const { machine, clock } = this.#parts;
    const { random } = machine.world;
    const atMs = this.#parts.wakeAtMs();
    if (atMs >= this.#atMs || atMs === Infinity) return;
    this.#atMs = atMs;
    const number = ++this.#number;
    const waitMs = Math.max(0, (atMs - clock.nowMs) / clock.rate);
    const lateMs = 0.001 + random.next() *
        (random.chance(0.1) ? TIMER_LATE_MS_MAX : 0.1);
    machine.later(waitMs + lateMs, () => {
      if (number !== this.#number) return;
      this.#atMs = Infinity;
      if (this.#parts.wakeAtMs() > clock.nowMs) return this.arm();
      this.#count();
      this.#parts.wake();
    });
  }

  #count(): void {
    const nowMs = Math.floor(this.#parts.machine.world.nowMs);
    if (nowMs !== this.#wokenAtMs) this.#wakesAtOnce = 0;
    this.#wokenAtMs = nowMs;
    this.#wakesAtOnce += 1;
    if (this.#wakesAtOnce === WAKES_AT_ONCE_MAX) this.#parts.spins();
  }
}

/** Neighbouring ports that no other test takes. */

const BLOCK_PORTS = 16;
const FIRST_PORT = 20_000;
/** Below the range from which systems choose by themselves. */
const LAST_PORT = 32_000;
const TRIES_MAX = 200;

/** Ports `base` to `base + count - 1`, free when it was made. */
export class PortBlock implements Disposable {
  readonly base: number;
  /** Of the block's last port: who has it, has the block. */
  readonly #reservation: Deno.Listener;

  private constructor(base: number, reservation: Deno.Listener) {
    this.base = base;
    this.#reservation = reservation;
  }

  /** How many ports one may use. */
  static readonly count = BLOCK_PORTS - 1;

  /** Finds a block; other tests keep off it until it is disposed of. */
  static reserve(): PortBlock {
    const blockCount = Math.floor((LAST_PORT - FIRST_PORT) / BLOCK_PORTS);
    for (let tries = 0; tries < TRIES_MAX; tries += 1) {
      const base = FIRST_PORT +
        Math.floor(Math.random() * blockCount) * BLOCK_PORTS;
      const reservation = listen(base + PortBlock.count);
      if (reservation === undefined) continue;
      if (areFree(base)) return new PortBlock(base, reservation);
      reservation.close();
    }
    throw new Error(`Cannot find free ports in ${TRIES_MAX} tries`);
  }

  [Symbol.dispose](): void {
    this.#reservation.close();
  }
}

function areFree(base: number): boolean {
  for (let index = 0; index < PortBlock.count; index += 1) {
    const listener = listen(base + index);
    if (listener === undefined) return false;
    listener.close();
  }
  return true;
}

function listen(port: number): Deno.Listener | undefined {
  try {
    return Deno.listen({ hostname: "127.0.0.1", port });
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) return undefined;
    throw error;
  }
}

/** What a bench sends through a chain, and what it learns from that. */

/** Bytes of text sent at once. */
const BLOCK_BYTES_MAX = 262_118;

/**
 * Bytes that may be on their way at once. All chains are fed alike, so that
 * none is measured by how much the kernel's buffers hold.
 */
export const UNDER_WAY_BYTES_MAX = 8_388_608;

/** Whole lines of one size. */
export interface Load {
  /** With the newline. */
  readonly lineBytes: number;
  /** Lines in `block`. */
  readonly lines: number;
  readonly block: Uint8Array<ArrayBuffer>;
  /** One of them. */
  readonly line: Uint8Array<ArrayBuffer>;
}

/** Makes lines of `lineBytes` bytes, newline included; some 256 KiB in all. */
export function makeLoad(lineBytes: number): Load {
  const lines = Math.floor(BLOCK_BYTES_MAX / lineBytes);
  const words = "all these words are on their way from the head to the tail ";
  const text = Array.from({ length: lines }, (_, index) => {
    const number = `message ${index + 1}: `;
    const rest = words.repeat(Math.ceil(lineBytes / words.length));
    return `${(number + rest).slice(0, lineBytes - 1)}\n`;
  });
  const block = new TextEncoder().encode(text.join(""));
  return { lineBytes, lines, block, line: block.slice(0, lineBytes) };
}

/** How fast a chain was while it was full. */
export interface Flood {
  readonly messages: number;
  /** From the first write until the sink had all. */
  readonly arrivedMs: number;
  /** From the first write until the sender knew that the tail has all. */
  readonly acknowledgedMs?: number;
}

/** A chain that can be kept full. */
export interface Floodable {
  /** Sends for `forMs`, then waits until all has arrived. */
  flood(load: Load, forMs: number): Promise<Flood>;
}

/** A chain through which single messages can be sent. */
export interface Pingable {
  /**
   * Sends `count` messages, each when the one before has arrived.
   *
   * @returns How long each took until the sink had it, in microseconds.
   */
  ping(load: Load, count: number): Promise<Float64Array>;
}

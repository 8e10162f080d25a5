/** A bounded first-in, first-out queue of bytes, in blocks that are used again. */

/** Bytes of one block: large enough that one write moves much, and few are idle. */
export const BLOCK_BYTES = 262_144;

interface Block {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** A write that may still run reads it: it must never be filled again. */
  pinned: boolean;
}

/**
 * Keeps what a successor has not acknowledged. Bytes have absolute positions,
 * counted from 0 since the queue was made, so that any prefix can be sent
 * again after a reconnect and let go after an acknowledgement.
 *
 * Blocks let go are filled again before new ones are made, last used first:
 * they are still in the processor's cache, and fresh memory costs more than
 * the copy.
 */
export class ByteQueue {
  readonly bytesMax: number;
  #blocks: Block[] = [];
  #free: Block[] = [];
  /** Position of the first byte of the first block. */
  #origin = 0;
  #start = 0;
  #end = 0;

  /** @param bytesMax What {@linkcode space} counts down from; appends may overshoot it. */
  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** Position of the oldest byte kept. */
  get start(): number {
    return this.#start;
  }

  /** Position after the newest byte. */
  get end(): number {
    return this.#end;
  }

  /** Bytes kept. */
  get length(): number {
    return this.#end - this.#start;
  }

  /** Bytes until the bound; negative when it is overshot. */
  get space(): number {
    return this.bytesMax - this.length;
  }

  /** Copies `bytes` to the end. */
  append(bytes: Uint8Array): void {
    let from = 0;
    while (from < bytes.length) {
      const used = this.#end - this.#origin;
      const index = Math.floor(used / BLOCK_BYTES);
      if (index === this.#blocks.length) this.#blocks.push(this.#take());
      const at = used - index * BLOCK_BYTES;
      const count = Math.min(BLOCK_BYTES - at, bytes.length - from);
      this.#blocks[index].bytes.set(bytes.subarray(from, from + count), at);
      from += count;
      this.#end += count;
    }
  }

  /**
   * The bytes from `position` on that lie together in memory: at least one
   * unless `position` is the end. Valid until they are released.
   */
  view(position: number, end: number = this.#end): Uint8Array<ArrayBuffer> {
    const used = position - this.#origin;
    const index = Math.floor(used / BLOCK_BYTES);
    if (index >= this.#blocks.length) return new Uint8Array(0);
    const at = used - index * BLOCK_BYTES;
    const count = Math.min(BLOCK_BYTES - at, end - position);
    return this.#blocks[index].bytes.subarray(at, at + count);
  }

  /** All bytes from `position` to `end`, in as many pieces as they lie in. */
  views(position: number, end: number): Uint8Array<ArrayBuffer>[] {
    const views: Uint8Array<ArrayBuffer>[] = [];
    let at = position;
    while (at < end) {
      const view = this.view(at, end);
      views.push(view);
      at += view.length;
    }
    return views;
  }

  /** Lets go of all bytes before `position`. */
  release(position: number): void {
    this.#start = Math.max(this.#start, Math.min(position, this.#end));
    while (this.#start - this.#origin >= BLOCK_BYTES) {
      const block = this.#blocks.shift();
      this.#origin += BLOCK_BYTES;
      if (block !== undefined && !block.pinned) this.#free.push(block);
    }
    const spare = Math.ceil(this.bytesMax / BLOCK_BYTES) - this.#blocks.length;
    if (this.#free.length > Math.max(2, spare)) this.#free.shift();
  }

  /**
   * Says that a write of the block at `position` was cut off and may still be
   * under way in the operating system's hands. Filling that block again could
   * put other bytes on a dead link that comes back to life.
   */
  pin(position: number): void {
    const index = Math.floor((position - this.#origin) / BLOCK_BYTES);
    const block = this.#blocks[index];
    if (block !== undefined) block.pinned = true;
  }

  #take(): Block {
    return this.#free.pop() ??
      { bytes: new Uint8Array(BLOCK_BYTES), pinned: false };
  }
}

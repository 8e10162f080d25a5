/** Gets a snapshot from another node, in pieces, through lost connections. */

import { isSameEpoch } from "../../../protocol/epoch.ts";
import { WireError } from "../../../protocol/errors.ts";
import { FRAME, type Frame } from "../../../protocol/frame.ts";
import {
  encodeSnapshotAsk,
  encodeSnapshotGet,
  readSnapshotChunk,
  readSnapshotInfo,
  type SnapshotInfo,
} from "../../../protocol/snapshot_codec.ts";
import { backoffMs } from "../../host/link.ts";
import type { FrameLink } from "../../host/frame_link.ts";
import { inTime } from "./snapshot_server.ts";

/** Pieces asked for and not yet here: so much memory, and so much on the way. */
const WINDOW_CHUNKS = 4;

/** Tries in a row that brought no piece, before it is given up. */
const TRIES_MAX = 12;

/** Snapshots that turned out broken, before it is given up. */
const BROKEN_MAX = 3;

const RETRY_WAIT_MS_MAX = 2_000;

/** Where a snapshot goes. One call at a time. */
export interface SnapshotSink {
  /**
   * A snapshot begins; what was written of another one is worth nothing.
   *
   * @returns What an earlier process has written of this one already.
   */
  begin(
    info: SnapshotInfo,
  ): Promise<{ readonly chunks: number; readonly bytes: number }>;
  /**
   * The next piece, in order.
   *
   * @param bytes Valid until the promise is settled.
   */
  write(bytes: Uint8Array): Promise<void>;
  /**
   * All pieces are written: checks the digest and makes it last.
   *
   * @returns False if it is broken: it begins anew.
   */
  finish(): Promise<boolean>;
}

/** How to pull a snapshot. */
export interface PullOptions {
  /** Connects to the node that has it; asked again after a loss. */
  connect(): Promise<FrameLink>;
  readonly sink: SnapshotSink;
  readonly signal: AbortSignal;
  /** Called after each piece. */
  onProgress?(progress: {
    readonly info: SnapshotInfo;
    /** Pieces and bytes that are written. */
    readonly chunks: number;
    readonly bytes: number;
  }): void;
}

/**
 * Pulls the newest snapshot. After a lost connection it goes on where it
 * stopped, if the snapshot is still the same one.
 *
 * @returns What was pulled and finished.
 * @throws {WireError} Given up: `no-snapshot`, or the last of many tries failed.
 * @throws What the sink throws.
 */
export async function pullSnapshot(
  options: PullOptions,
): Promise<SnapshotInfo> {
  const pull = new Pull(options);
  for (let tries = 0;; tries++) {
    options.signal.throwIfAborted();
    const before = pull.pieces;
    try {
      return await pull.run(await options.connect());
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      if (pull.pieces > before) tries = 0;
      if (error.code === "no-snapshot" || pull.broken >= BROKEN_MAX) {
        throw error;
      }
      if (tries >= TRIES_MAX || options.signal.aborted) throw error;
    }
    const waitMs = backoffMs(tries + 1, Math.random(), RETRY_WAIT_MS_MAX);
    await pause(waitMs, options.signal);
  }
}

/** What is known of the transfer from one connection to the next. */
class Pull {
  /** Pieces written since the beginning, for this snapshot or another. */
  pieces = 0;
  /** Snapshots that turned out broken. */
  broken = 0;
  readonly #options: PullOptions;
  #info: SnapshotInfo | undefined;
  #chunks = 0;
  #bytes = 0;
  #asked = 0;

  constructor(options: PullOptions) {
    this.#options = options;
  }

  /** Goes on over this connection, and closes it. */
  async run(link: FrameLink): Promise<SnapshotInfo> {
    const { signal } = this.#options;
    const onAbort = () => link.abort(new WireError("link-lost", "Given up"));
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      if (signal.aborted) onAbort();
      link.send(encodeSnapshotAsk());
      this.#asked = 0;
      for (;;) {
        for (const frame of await inTime(link, link.read())) {
          const info = await this.#take(link, frame);
          if (info === undefined) continue;
          await link.close();
          return info;
        }
      }
    } catch (error) {
      const isOurs = !(error instanceof WireError);
      await link.close(
        isOurs ? new WireError("shutting-down", "Given up") : error,
      );
      throw error;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** Returns the snapshot when this was its last piece. */
  async #take(
    link: FrameLink,
    { kind, payload }: Frame,
  ): Promise<SnapshotInfo | undefined> {
    switch (kind) {
      case FRAME.snapshotInfo:
        await this.#offered(readSnapshotInfo(payload));
        break;
      case FRAME.snapshotChunk:
        if (!await this.#took(payload)) return undefined;
        break;
      default:
        throw new WireError(
          "invalid-message",
          `Cannot take frame of kind ${kind} from who serves a snapshot`,
        );
    }
    const info = this.#info;
    if (info === undefined) return undefined;
    if (this.#chunks === info.chunks) return await this.#finish(info);
    const end = Math.min(info.chunks, this.#chunks + WINDOW_CHUNKS);
    for (; this.#asked < end; this.#asked++) {
      link.send(encodeSnapshotGet({ index: info.index, chunk: this.#asked }));
    }
    return undefined;
  }

  async #offered(info: SnapshotInfo): Promise<void> {
    if (this.#info === undefined || !isSame(this.#info, info)) {
      this.#info = info;
      this.#asked = 0;
      const found = await this.#options.sink.begin(info);
      this.#chunks = found.chunks;
      this.#bytes = found.bytes;
    }
    // The first offer of a connection: nothing was asked of it yet.
    if (this.#asked < this.#chunks) this.#asked = this.#chunks;
  }

  /** Whether it was the piece that comes next; others belong to what is no more. */
  async #took(payload: Uint8Array): Promise<boolean> {
    const { index, chunk, bytes } = readSnapshotChunk(payload);
    const info = this.#info;
    if (info === undefined || index !== info.index) return false;
    if (chunk !== this.#chunks || chunk >= this.#asked) {
      throw new WireError(
        "invalid-message",
        `Cannot take chunk ${chunk} of a snapshot, wanted ${this.#chunks}`,
      );
    }
    this.#bytes += bytes.length;
    if (this.#bytes > info.bytes) throw this.#isBroken(info);
    await this.#options.sink.write(bytes);
    this.#chunks += 1;
    this.pieces += 1;
    this.#options.onProgress?.({
      info,
      chunks: this.#chunks,
      bytes: this.#bytes,
    });
    return true;
  }

  async #finish(info: SnapshotInfo): Promise<SnapshotInfo> {
    if (this.#bytes !== info.bytes || !await this.#options.sink.finish()) {
      throw this.#isBroken(info);
    }
    return info;
  }

  #isBroken(info: SnapshotInfo): WireError {
    this.broken += 1;
    this.#info = undefined;
    return new WireError(
      "invalid-message",
      `The snapshot of index ${info.index} is broken: ${this.#bytes} of ${info.bytes} bytes came`,
    );
  }
}

function isSame(a: SnapshotInfo, b: SnapshotInfo): boolean {
  return a.index === b.index && isSameEpoch(a.epoch, b.epoch) &&
    a.chunks === b.chunks && a.bytes === b.bytes && a.digest === b.digest;
}

/** Waits, or ends early when it is given up. */
function pause(waitMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, waitMs);
    signal.addEventListener("abort", end, { once: true });
  });
}

/** Hands out the newest snapshot, in pieces, to whoever is too far behind. */

import { WireError } from "../../../protocol/errors.ts";
import { FRAME, type Frame } from "../../../protocol/frame.ts";
import {
  encodeSnapshotChunk,
  encodeSnapshotInfo,
  readSnapshotGet,
  type SnapshotInfo,
} from "../../../protocol/snapshot_codec.ts";
import type { Log } from "../../host/log.ts";
import type { FrameLink } from "../../host/frame_link.ts";

/** Who is served at once; each costs disk reads that the log wants as well. */
const SERVED_MAX = 4;

/** How long a piece may take to be taken, and the next to be asked for. */
const PIECE_WAIT_MS = 30_000;

/** Where snapshots come from. */
export interface SnapshotSource {
  /** The newest one, or undefined while there is none. */
  newest(): SnapshotInfo | undefined;
  /**
   * A piece of a snapshot that {@linkcode newest} has told.
   *
   * @returns 1 to `SNAPSHOT_CHUNK_BYTES_MAX` bytes; undefined if that snapshot
   * is gone, since there is a newer one.
   */
  chunk(index: number, chunk: number): Promise<Uint8Array | undefined>;
}

/** Serves connections that ask for snapshots. */
export class SnapshotServer {
  readonly #source: SnapshotSource;
  readonly #log: Log;
  #served = 0;

  constructor(source: SnapshotSource, log: Log) {
    this.#source = source;
    this.#log = log;
  }

  /**
   * Serves one connection to its end. Never rejected by what the other side
   * does.
   *
   * @param ask Its first frame, a `snapshot-ask`.
   */
  async serve(link: FrameLink, ask: Frame): Promise<void> {
    this.#served += 1;
    const { id } = link.peer;
    try {
      if (this.#served > SERVED_MAX) {
        throw new WireError(
          "busy",
          `This node serves ${SERVED_MAX} snapshots, which is its limit`,
        );
      }
      await this.#answer(link, ask);
      for (;;) {
        for (const frame of await inTime(link, link.read())) {
          await this.#answer(link, frame);
        }
      }
    } catch (error) {
      const known = error instanceof WireError
        ? error
        : new WireError("no-snapshot", "The snapshot cannot be read", {
          cause: error,
        });
      const isOver = known.code === "link-lost";
      this.#log[isOver ? "info" : "warn"](
        isOver
          ? `"${id}" has got what it wanted of the snapshot`
          : `Cannot serve a snapshot to "${id}": ${known.message}`,
        { from: link.label, bytes: link.bytes.sent, error: known.cause },
      );
      await link.close(known);
    } finally {
      this.#served -= 1;
    }
  }

  async #answer(link: FrameLink, frame: Frame): Promise<void> {
    switch (frame.kind) {
      case FRAME.snapshotAsk:
        link.send(encodeSnapshotInfo(this.#newest()));
        break;
      case FRAME.snapshotGet: {
        const { index, chunk } = readSnapshotGet(frame.payload);
        link.send(await this.#piece(index, chunk));
        break;
      }
      default:
        throw new WireError(
          "invalid-message",
          `Cannot take frame of kind ${frame.kind} from who wants a snapshot`,
        );
    }
    // Nothing more is read for somebody who does not take it.
    await inTime(link, link.sent());
  }

  #newest(): SnapshotInfo {
    const newest = this.#source.newest();
    if (newest !== undefined) return newest;
    throw new WireError("no-snapshot", "This node has no snapshot yet");
  }

  async #piece(index: number, chunk: number): Promise<Uint8Array> {
    const newest = this.#newest();
    if (newest.index === index && chunk >= newest.chunks) {
      throw new WireError(
        "invalid-message",
        `Cannot send chunk ${chunk}: the snapshot has ${newest.chunks}`,
      );
    }
    const bytes = newest.index === index
      ? await this.#source.chunk(index, chunk)
      : undefined;
    // It is gone: whoever wants it has to begin with the newest one.
    if (bytes === undefined) return encodeSnapshotInfo(this.#newest());
    return encodeSnapshotChunk({ index, chunk, bytes });
  }
}

/** `work` on a link, which is broken off when it takes too long. */
export async function inTime<T>(
  link: FrameLink,
  work: Promise<T>,
): Promise<T> {
  const timer = setTimeout(() => {
    const text = `Nothing moved for ${PIECE_WAIT_MS} ms`;
    link.abort(new WireError("timeout", text));
  }, PIECE_WAIT_MS);
  try {
    return await work;
  } finally {
    clearTimeout(timer);
  }
}

/** Snapshots of the state: when one is taken, where it is served from, how one is installed. */

import { isSameEpoch, type StoreId } from "../../../protocol/epoch.ts";
import { WireError } from "../../../protocol/errors.ts";
import type { Frame } from "../../../protocol/frame.ts";
import type { LogPosition } from "../../../protocol/replica.ts";
import type { SnapshotInfo } from "../../../protocol/snapshot_codec.ts";
import type { Disk } from "../../../storage/disk.ts";
import { StorageError } from "../../../storage/errors.ts";
import type { SegmentLog } from "../../../storage/segment_log.ts";
import { SnapshotReader } from "../../../storage/snapshot_reader.ts";
import { SnapshotWriter } from "../../../storage/snapshot_writer.ts";
import type { Log } from "../../host/log.ts";
import { StartError } from "../../host/process.ts";
import { divergedReason } from "../replica/divergence.ts";
import type { FrameLink } from "../../host/frame_link.ts";
import type { PeerLinks } from "../links/peers.ts";
import { SnapshotServer } from "../links/snapshot_server.ts";
import { pullSnapshot } from "../links/snapshot_transfer.ts";
import type { ChatState } from "./state.ts";

/** Ended segments of the log at which a snapshot is due, if it is not larger itself. */
const SEGMENTS_MAX = 4;

/** What a server's snapshots are made of. */
export interface SnapshotParts {
  readonly disk: Disk;
  readonly directory: string;
  readonly state: ChatState;
  readonly log: SegmentLog;
  /** Size of an ended segment of the log, in bytes. */
  readonly segmentBytes: number;
  readonly journal: Log;
}

/**
 * The snapshots of one data directory. One is due when the log behind it has
 * become larger than it, so that what is written for snapshots is never more
 * than what is written for the log.
 */
export class Snapshots {
  /** The state is being replaced: nothing else may be done with it. */
  isInstalling = false;
  readonly #parts: SnapshotParts;
  readonly #server: SnapshotServer;
  readonly #stop = new AbortController();
  /** One after the other: to finish one removes what is unfinished of others. */
  #turn: Promise<unknown> = Promise.resolve();
  #isFetching = false;
  #newest: SnapshotReader | undefined;

  /** @throws {StorageError} `wrong-format`, `open-failed`: refuse to start. */
  constructor(parts: SnapshotParts) {
    this.#parts = parts;
    const { disk, directory, journal } = parts;
    const { snapshot, damaged } = SnapshotReader.newest(disk, directory);
    for (const error of damaged) journal.error(error.message);
    this.#newest = snapshot;
    this.#server = new SnapshotServer({
      newest: () => this.#newest?.info,
      chunk: (index, chunk) => this.#chunk(index, chunk),
    }, journal);
  }

  /** Whether to {@linkcode take} one. */
  get isDue(): boolean {
    if (this.#isFetching) return false;
    const { log, segmentBytes } = this.#parts;
    const ended = log.segments.length - 1;
    return ended >= SEGMENTS_MAX &&
      ended * segmentBytes >= (this.#newest?.info.bytes ?? 0);
  }

  /**
   * Takes a snapshot, while entries are applied.
   *
   * @returns The index up to which the log is not needed any more.
   * @throws {StorageError} `write-failed`, `damaged`: exit.
   */
  take(): Promise<number> {
    return this.#inTurn(() => this.#take());
  }

  async #take(): Promise<number> {
    const { disk, directory, state, journal } = this.#parts;
    let position = state.applied;
    let writer: SnapshotWriter | undefined;
    const startMs = performance.now();
    for await (const chunk of state.dump((start) => position = start)) {
      writer ??= await SnapshotWriter.create(disk, directory, position);
      await writer.write(chunk);
    }
    const info = await writer?.finish();
    if (info === undefined) throw new Error("A dump has no chunk");
    this.#open();
    journal.info("Took a snapshot", {
      index: info.index,
      bytes: info.bytes,
      ms: Math.round(performance.now() - startMs),
    });
    return info.index;
  }

  /** Puts the newest snapshot in the place of the state, if there is one that is newer. */
  async restore(): Promise<void> {
    const { state, journal } = this.#parts;
    const newest = this.#newest;
    if (newest === undefined || newest.info.index <= state.applied.index) {
      return;
    }
    try {
      await this.#install(newest);
      journal.info("Restored the state from a snapshot", {
        index: newest.info.index,
      });
    } catch (error) {
      if (!isDamaged(error)) throw error;
      journal.error(error.message);
    }
  }

  /**
   * Gets the newest snapshot of another server and installs it.
   *
   * @returns The last entry that the state has then.
   * @throws {WireError} None came; the state is as it was.
   * @throws {StorageError} `write-failed`: exit.
   */
  fetch(from: StoreId, peers: PeerLinks): Promise<LogPosition> {
    this.#isFetching = true;
    return this.#inTurn(() => this.#fetch(from, peers)).finally(() => {
      this.#isFetching = false;
    });
  }

  async #fetch(from: StoreId, peers: PeerLinks): Promise<LogPosition> {
    const { disk, directory, state, journal } = this.#parts;
    const { signal } = this.#stop;
    let writer: SnapshotWriter | undefined;
    const pulled = pullSnapshot({
      connect: () => peers.connect(from, signal),
      signal,
      sink: {
        begin: async (info: SnapshotInfo) => {
          await writer?.abandon();
          writer = await SnapshotWriter.resume(disk, directory, info);
          journal.info("Getting a snapshot", {
            index: info.index,
            bytes: info.bytes,
            chunks: writer.chunks,
          });
          return writer;
        },
        write: async (bytes) => await writer?.write(bytes),
        finish: async () => {
          const written = await writer?.finish();
          writer = undefined;
          return written !== undefined;
        },
      },
    });
    try {
      await pulled;
    } catch (error) {
      await writer?.pause();
      throw error;
    }
    this.#open();
    const newest = this.#newest;
    if (newest === undefined || newest.info.index <= state.applied.index) {
      if (newest !== undefined && !this.#mayHave(newest.position)) {
        throw new StartError(divergedReason(state.applied.index));
      }
      throw new WireError("no-snapshot", "The snapshot there is too old");
    }
    try {
      return await this.#install(newest);
    } catch (error) {
      if (!isDamaged(error)) throw error;
      throw new WireError("no-snapshot", error.message, { cause: error });
    }
  }

  /** Serves a connection that asks for the newest snapshot, to its end. */
  serve(link: FrameLink, ask: Frame): Promise<void> {
    return this.#server.serve(link, ask);
  }

  /** Gives up a download, ends what is being written, and closes the file. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#turn;
    this.#newest?.close();
  }

  async #install(snapshot: SnapshotReader): Promise<LogPosition> {
    const { state } = this.#parts;
    this.isInstalling = true;
    try {
      await state.install(snapshot.chunks());
    } finally {
      this.isInstalling = false;
    }
    return state.applied;
  }

  /** Whether nothing in the log speaks against that entry. */
  #mayHave({ index, epoch }: LogPosition): boolean {
    const { base, runs, lastIndex } = this.#parts.log.shape;
    if (index < base.index || index > lastIndex) return true;
    const run = runs.findLast((one) => one.index <= index) ?? base;
    return isSameEpoch(run.epoch, epoch);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => {});
    return result;
  }

  #chunk(index: number, chunk: number): Promise<Uint8Array | undefined> {
    const newest = this.#newest;
    if (newest?.info.index !== index) return Promise.resolve(undefined);
    return Promise.resolve(newest.chunk(chunk));
  }

  #open(): void {
    const { disk, directory } = this.#parts;
    const before = this.#newest;
    this.#newest = SnapshotReader.newest(disk, directory).snapshot;
    before?.close();
  }
}

function isDamaged(error: unknown): error is StorageError {
  return error instanceof StorageError && error.code === "damaged";
}

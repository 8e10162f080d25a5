/** What a chain node keeps on disk; bytes in `storage/FORMAT.md#chain`. */

import type { Disk } from "../../storage/disk.ts";
import { GenerationLog } from "../../storage/generation_log.ts";
import {
  readUint32,
  readUint53,
  writeUint32,
  writeUint53,
} from "../../protocol/frame.ts";
import type { ClientId } from "../../protocol/ids.ts";
import { CLIENTS_REMEMBERED_MAX } from "./delivery.ts";

const FRAMES = 1;
const ACKNOWLEDGED = 2;
const PROGRESS = 3;

/** A record of the queue holds at most what the largest queue does, and its slack. */
const RECORD_BYTES_MAX = 2 ** 30;

/** Bytes of a file beyond what is needed at which it is begun anew. */
const SURPLUS_BYTES_MAX = 67_108_864;

/** Bytes of a client's place in a progress record. */
const CLIENT_BYTES = 16;

/** What the last run left, and torn bytes that were cut off. */
export interface OpenedSpool {
  readonly spool: QueueSpool;
  /** Whole frames that nobody had acknowledged. */
  readonly frames: Uint8Array;
  readonly cutBytes: number;
}

/**
 * A mirror of the unacknowledged queue: frames as they came, and how many of
 * their bytes are acknowledged. The note of an acknowledgement is not synced;
 * if it is lost the frames are sent again, and the tail drops them.
 */
export class QueueSpool {
  readonly #log: GenerationLog;
  /** Bytes that the current file holds in front of what is needed. */
  #surplus = 0;
  #acknowledged = 0;
  #isRenewing = false;

  private constructor(log: GenerationLog) {
    this.#log = log;
  }

  /** @throws {StorageError} See {@linkcode GenerationLog.open}. */
  static async open(disk: Disk, directory: string): Promise<OpenedSpool> {
    const { log, records, cutBytes } = await GenerationLog.open(
      disk,
      directory,
      {
        name: "queue",
        kind: "CQUE",
        recordBytesMax: RECORD_BYTES_MAX,
        first: framesRecord(0, new Uint8Array(0)),
      },
    );
    const frames = wholeFrames(unacknowledged(records));
    const spool = new QueueSpool(log);
    // Positions begin at 0 in every run, and a torn frame must not stay.
    await log.renew(framesRecord(0, frames));
    return { spool, frames, cutBytes };
  }

  /**
   * Appends frames and syncs. They begin at `position`, counted in bytes since
   * this run began; what lies between them and those before is acknowledged.
   *
   * @throws {StorageError} `write-failed`: exit.
   */
  async append(
    position: number,
    frames: readonly Uint8Array[],
  ): Promise<void> {
    let at = position;
    const records: Uint8Array[] = [];
    for (const bytes of frames) {
      records.push(framesRecord(at, bytes));
      at += bytes.length;
    }
    this.#log.append(records);
    await this.#log.sync();
  }

  /** Notes that all before `position` is acknowledged. */
  acknowledge(position: number): void {
    this.#surplus += position - this.#acknowledged;
    this.#acknowledged = position;
    if (!this.#isRenewing) this.#noteAcknowledged();
  }

  /** Whether the file holds so much that nobody needs that it should be begun anew. */
  get isWorthRenewing(): boolean {
    return this.#surplus > SURPLUS_BYTES_MAX;
  }

  /**
   * Begins a new file with `frames`, all that was appended from `position` on
   * and is not acknowledged. Nothing may be appended meanwhile.
   *
   * @throws {StorageError} `write-failed`: exit.
   */
  async renew(
    position: number,
    frames: readonly Uint8Array[],
  ): Promise<void> {
    this.#isRenewing = true;
    await this.#log.renew(framesRecord(position, join(frames)));
    this.#isRenewing = false;
    this.#surplus = 0;
    this.#noteAcknowledged();
  }

  close(): Promise<void> {
    return this.#log.close();
  }

  #noteAcknowledged(): void {
    const record = new Uint8Array(9);
    record[0] = ACKNOWLEDGED;
    writeUint53(record, 1, this.#acknowledged);
    this.#log.append([record]);
  }
}

/** How far the tail's output file had come, and each client in it. */
export interface Progress {
  /** Bytes of the output file. */
  readonly outputBytes: number;
  /** Each client's position, oldest use first. */
  readonly clients: readonly (readonly [ClientId, number])[];
}

/**
 * The tail's memory of what it has put out. It is written after the output is
 * synced and before anything is acknowledged; what the output holds beyond it
 * after a crash was never acknowledged, is cut off, and comes again.
 */
export class ProgressSpool {
  readonly #log: GenerationLog;
  readonly #clients: Map<ClientId, number>;

  private constructor(log: GenerationLog, clients: Map<ClientId, number>) {
    this.#log = log;
    this.#clients = clients;
  }

  /** All that was appended, oldest use first: what is out, and nothing more. */
  get clients(): readonly (readonly [ClientId, number])[] {
    return Array.from(this.#clients);
  }

  /** @throws {StorageError} See {@linkcode GenerationLog.open}. */
  static async open(
    disk: Disk,
    directory: string,
  ): Promise<{ spool: ProgressSpool; progress: Progress | undefined }> {
    const { log, records } = await GenerationLog.open(disk, directory, {
      name: "delivered",
      kind: "CDEL",
      recordBytesMax: RECORD_BYTES_MAX,
      first: new Uint8Array([PROGRESS]),
    });
    const clients = new Map<ClientId, number>();
    let outputBytes: number | undefined;
    for (const record of records) {
      if (record.length < 9) continue; // The first of a new log says nothing.
      outputBytes = readUint53(record, 1);
      for (let at = 9; at < record.length; at += CLIENT_BYTES) {
        const client = (BigInt(readUint32(record, at)) << 32n) |
          BigInt(readUint32(record, at + 4));
        clients.delete(client);
        clients.set(client, readUint53(record, at + 8));
      }
    }
    const progress = outputBytes === undefined
      ? undefined
      : { outputBytes, clients: Array.from(clients) };
    return { spool: new ProgressSpool(log, clients), progress };
  }

  /**
   * Appends what has changed and syncs.
   *
   * @throws {StorageError} `write-failed`: exit.
   */
  async append(progress: Progress): Promise<void> {
    this.#log.append([progressRecord(progress)]);
    await this.#log.sync();
    for (const [client, end] of progress.clients) {
      this.#clients.delete(client);
      this.#clients.set(client, end);
    }
    for (const client of this.#clients.keys()) {
      if (this.#clients.size <= CLIENTS_REMEMBERED_MAX) break;
      this.#clients.delete(client);
    }
  }

  /** Whether the file has grown past what its newest content needs. */
  get isWorthRenewing(): boolean {
    return this.#log.size > SURPLUS_BYTES_MAX;
  }

  /** Begins a new file with the whole progress. */
  async renew(progress: Progress): Promise<void> {
    await this.#log.renew(progressRecord(progress));
  }

  close(): Promise<void> {
    return this.#log.close();
  }
}

function framesRecord(position: number, frames: Uint8Array): Uint8Array {
  const record = new Uint8Array(9 + frames.length);
  record[0] = FRAMES;
  writeUint53(record, 1, position);
  record.set(frames, 9);
  return record;
}

function progressRecord(progress: Progress): Uint8Array {
  const { outputBytes, clients } = progress;
  const record = new Uint8Array(9 + clients.length * CLIENT_BYTES);
  record[0] = PROGRESS;
  writeUint53(record, 1, outputBytes);
  let at = 9;
  for (const [client, end] of clients) {
    writeUint32(record, at, Number(client >> 32n));
    writeUint32(record, at + 4, Number(client & 0xffff_ffffn));
    writeUint53(record, at + 8, end);
    at += CLIENT_BYTES;
  }
  return record;
}

function unacknowledged(records: readonly Uint8Array[]): Uint8Array {
  const acknowledged = records.filter((record) => record[0] === ACKNOWLEDGED)
    .reduce((most, record) => Math.max(most, readUint53(record, 1)), 0);
  const parts = records.filter((record) => record[0] === FRAMES)
    .map((record) => {
      const known = Math.max(0, acknowledged - readUint53(record, 1));
      return record.subarray(Math.min(9 + known, record.length));
    });
  return join(parts);
}

/** The longest prefix of whole frames; the rest was torn and never synced. */
function wholeFrames(bytes: Uint8Array): Uint8Array {
  let end = 0;
  while (end + 4 <= bytes.length) {
    const next = end + 4 + readUint32(bytes, end);
    if (next > bytes.length) break;
    end = next;
  }
  return bytes.subarray(0, end);
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(
    parts.reduce((sum, part) => sum + part.length, 0),
  );
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

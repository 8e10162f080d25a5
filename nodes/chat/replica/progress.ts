/** How far one server has the primary's log, and what to send it next. */

import type { Epoch, StoreId } from "../../../protocol/epoch.ts";
import type { Incarnation } from "../../../protocol/ids.ts";
import type {
  LogEntry,
  LogPosition,
  ReplicaMessage,
} from "../../../protocol/replica.ts";
import type { ReplicaContext } from "./context.ts";

type Append = Extract<ReplicaMessage, { kind: "append" }>;

/** Bytes of commands under way to one server, unacknowledged; beyond it waits. */
export const WINDOW_BYTES_MAX = 8_388_608;

/** Bytes of commands of one read of older entries; what a member catches up by. */
const READ_BYTES_MAX = 1_048_576;

/** How often a server is told again that it needs a snapshot. */
const SNAPSHOT_ASK_MS = 1_000;

/**
 * - `probe`: an empty append asks where the logs match; nothing else is sent;
 * - `stream`: all up to `next - 1` was sent, and the match is known;
 * - `snapshot`: what it lacks is compacted; waits until it has the snapshot.
 */
type Mode = "probe" | "stream" | "snapshot";

/** One process's progress under one primary; asks anew with each link. */
export class Progress {
  readonly incarnation: Incarnation;
  /** The commit index that it was told last. */
  toldCommit = 0;
  readonly #context: ReplicaContext;
  readonly #store: StoreId;
  readonly #epoch: Epoch;
  #mode: Mode = "probe";
  /** All up to here is on its disk, as the primary has it. */
  #matched = 0;
  /** The first index not yet sent. */
  #next: number;
  #isReading = false;
  /** Of each append under way: its last index and its bytes. */
  #flying: { readonly index: number; readonly bytes: number }[] = [];
  #flyingBytes = 0;
  #askedMs = 0;

  constructor(
    context: ReplicaContext,
    options: { store: StoreId; incarnation: Incarnation; epoch: Epoch },
  ) {
    this.incarnation = options.incarnation;
    this.#context = context;
    this.#store = options.store;
    this.#epoch = options.epoch;
    this.#next = context.log.lastIndex + 1;
  }

  /** All up to here is on its disk. */
  get matched(): number {
    return this.#matched;
  }

  /** Whether it gets entries as they come. */
  get isStreaming(): boolean {
    return this.#mode === "stream";
  }

  /** A new link stands, or the view was told anew: asks where the logs match. */
  restart(): void {
    this.#mode = "probe";
    this.toldCommit = 0;
    this.#isReading = false;
    this.#flying = [];
    this.#flyingBytes = 0;
    this.#next = this.#matched > 0
      ? this.#matched + 1
      : this.#context.log.lastIndex + 1;
    this.#probe();
  }

  /** New entries at the log's end: sends them if all before them was sent. */
  push(message: Append, bytes: number): void {
    if (this.#mode !== "stream" || this.#isReading) return;
    if (this.#next !== message.previous.index + 1) return;
    if (this.#flyingBytes >= WINDOW_BYTES_MAX) return;
    this.#send(message, bytes);
  }

  /** Its disk has all up to `index`. */
  appended(index: number): void {
    const known = Math.min(index, this.#context.log.lastIndex);
    this.#matched = Math.max(this.#matched, known);
    while (this.#flying.length > 0 && this.#flying[0].index <= index) {
      this.#flyingBytes -= this.#flying.shift()?.bytes ?? 0;
    }
    if (this.#mode !== "stream") {
      this.#mode = "stream";
      this.#next = this.#matched + 1;
    }
    this.#pump();
  }

  /** Its log has no such entry; `hint` is the last that might match. */
  mismatch(previous: LogPosition, hint: LogPosition): void {
    // An answer to a question that was not the last one says nothing new.
    if (this.#mode === "snapshot") return;
    if (this.#mode === "probe" && previous.index !== this.#next - 1) return;
    // In a stream: what was sent while a snapshot was installed was not taken.
    this.#flying = [];
    this.#flyingBytes = 0;
    this.#isReading = false;
    const { log } = this.#context;
    if (previous.index <= log.base.index) return this.#needSnapshot();
    const index = Math.min(hint.index, previous.index - 1);
    this.#next = log.lastUpTo(index, hint.epoch).index + 1;
    this.#probe();
  }

  /** Entries that were asked for; none if they are compacted. */
  read(from: number, entries: readonly LogEntry[]): void {
    if (!this.#isReading) return;
    this.#isReading = false;
    if (this.#mode !== "stream" || from !== this.#next) return this.#pump();
    // The log may have been compacted since the read began; or the read is one of
    // an earlier view that this node led, and what it found was replaced since.
    const { log } = this.#context;
    const last = entries.at(-1);
    if (last === undefined || from <= log.base.index || !log.has(last)) {
      return this.#pump();
    }
    let bytes = 0;
    for (const { command } of entries) bytes += command.length;
    this.#send({
      kind: "append",
      epoch: this.#epoch,
      previous: log.at(from - 1),
      commit: this.#context.commitIndex,
      entries,
    }, bytes);
    this.#pump();
  }

  /** Says again, now and then, that a snapshot is needed. */
  tick(): void {
    if (this.#mode === "snapshot") this.#askForSnapshot();
  }

  #probe(): void {
    const { log } = this.#context;
    const epoch = log.epochAt(this.#next - 1);
    if (epoch === undefined) return this.#needSnapshot();
    this.#mode = "probe";
    this.#context.send(this.#store, {
      kind: "append",
      epoch: this.#epoch,
      previous: { index: this.#next - 1, epoch },
      commit: this.#context.commitIndex,
      entries: [],
    });
  }

  /** Sends what is older than the end, as the window allows. */
  #pump(): void {
    const { log } = this.#context;
    if (this.#mode !== "stream" || this.#isReading) return;
    if (this.#next > log.lastIndex) return;
    if (this.#flyingBytes >= WINDOW_BYTES_MAX) return;
    if (this.#next <= log.base.index) return this.#probe();
    this.#isReading = true;
    this.#context.emit({
      kind: "read-log",
      to: this.#store,
      from: this.#next,
      bytesMax: READ_BYTES_MAX,
    });
  }

  #send(message: Append, bytes: number): void {
    const index = message.previous.index + message.entries.length;
    this.#next = index + 1;
    this.#flying.push({ index, bytes });
    this.#flyingBytes += bytes;
    this.toldCommit = message.commit;
    this.#context.send(this.#store, message);
  }

  #needSnapshot(): void {
    this.#mode = "snapshot";
    this.#askedMs = -Infinity;
    this.#askForSnapshot();
  }

  #askForSnapshot(): void {
    const { nowMs, log } = this.#context;
    if (nowMs - this.#askedMs < SNAPSHOT_ASK_MS) return;
    this.#askedMs = nowMs;
    this.#context.send(this.#store, {
      kind: "snapshot-needed",
      epoch: this.#epoch,
      index: log.base.index,
    });
  }
}

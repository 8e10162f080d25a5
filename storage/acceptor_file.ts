/** What a voter has promised and accepted, on disk, with the store's own id. */

import { join } from "node:path";
import { Type } from "typebox";
import { Compile } from "typebox/compile";
import { EPOCH_NONE, type StoreId } from "../protocol/epoch.ts";
import { parseJson } from "../protocol/json.ts";
import type { AcceptorState, View } from "../protocol/view.ts";
import {
  EPOCH_SCHEMA,
  readView,
  STORE_SCHEMA,
} from "../protocol/view_codec.ts";
import type { Disk } from "./disk.ts";
import { causeText, StorageError } from "./errors.ts";
import {
  GenerationLog,
  type GenerationLogOptions,
  type OpenedGenerationLog,
} from "./generation_log.ts";
import { isDamage } from "./header_rot.ts";
import { DAMAGED_SUFFIX } from "./segment_files.ts";

/** Files are called `acceptor-N.log`. */
const OPTIONS: GenerationLogOptions = {
  name: "acceptor",
  kind: "CACC",
  // A view of 32 nodes takes some 8 KiB.
  recordBytesMax: 64 * 1024,
};

/** Records of a generation, about, before the next is begun. */
export const ACCEPTOR_RECORDS_MAX = 1_000;

const FILE_NAME = /^acceptor-\d{6,15}\.log$/;

const RECORD = Compile(Type.Object({
  store: STORE_SCHEMA,
  promised: EPOCH_SCHEMA,
  accepted: Type.Unknown(),
  damaged: Type.Boolean(),
}));

/** How the file is kept. */
export interface AcceptorFileOptions {
  /** There is a log that has held an entry or a snapshot, damaged or not. */
  readonly hasLog: boolean;
  /** Default {@linkcode ACCEPTOR_RECORDS_MAX}. */
  readonly recordsMax?: number;
}

/** An open file, and what opening it took. */
export interface OpenedAcceptorFile {
  readonly file: AcceptorFile;
  /**
   * Why this is a new store: there was no file, or it was lost, which is for the
   * operator to know. `undefined`: it is the store that it was.
   */
  readonly origin: "new" | "lost" | undefined;
  /** What was lost and how, if so; a sentence. */
  readonly reason: string | undefined;
  /** Torn bytes that were cut off and never synced; tell the operator. */
  readonly cutBytes: number;
}

/**
 * The durable state of a voter. Each record is the whole state; the latest
 * counts. What was promised must never be forgotten, so a file that is damaged,
 * or missing although there is a log, is not restored: the directory becomes a
 * new store, whose log counts as damaged.
 *
 * @see storage/FORMAT.md#acceptor
 */
export class AcceptorFile {
  /** This directory's own number. */
  readonly store: StoreId;
  readonly #log: GenerationLog;
  #state: AcceptorState;
  readonly #recordsMax: number;
  #recordCount: number;
  #preparing: Promise<void> | undefined;
  #failure: unknown;
  #isClosed = false;

  private constructor(
    log: GenerationLog,
    content: {
      store: StoreId;
      state: AcceptorState;
      recordCount: number;
      recordsMax: number;
    },
  ) {
    this.#log = log;
    this.store = content.store;
    this.#state = content.state;
    this.#recordCount = content.recordCount;
    this.#recordsMax = content.recordsMax;
  }

  /**
   * Opens the file in a directory that this process has locked, or makes one.
   *
   * @throws {StorageError} `wrong-format`, `open-failed`: refuse to start.
   * `write-failed`: exit. Damage is not thrown, but a new store.
   */
  static async open(
    disk: Disk,
    directory: string,
    options: AcceptorFileOptions,
  ): Promise<OpenedAcceptorFile> {
    const { hasLog, recordsMax = ACCEPTOR_RECORDS_MAX } = options;
    const store = drawStoreId(disk);
    const state: AcceptorState = {
      promised: EPOCH_NONE,
      accepted: undefined,
      isDamaged: hasLog,
    };
    const first = encode(store, state);
    const fresh = { store, state, recordCount: 1, recordsMax };
    let reason = hasLog
      ? `There is a log in "${directory}", but no "acceptor-N.log"`
      : undefined;
    let opened: OpenedGenerationLog;
    try {
      opened = await GenerationLog.open(disk, directory, { ...OPTIONS, first });
    } catch (error) {
      if (!isDamage(disk, error)) throw error;
      reason = error.message;
      await moveAway(disk, directory);
      opened = await GenerationLog.open(disk, directory, { ...OPTIONS, first });
    }
    const { log, records, cutBytes } = opened;
    const latest = records.at(-1);
    if (latest !== undefined) {
      const content = parse(latest, join(directory, "acceptor-N.log"));
      const recordCount = records.length;
      const file = new AcceptorFile(log, {
        ...content,
        recordCount,
        recordsMax,
      });
      return { file, origin: undefined, reason: undefined, cutBytes };
    }
    const file = new AcceptorFile(log, fresh);
    const origin = reason === undefined ? "new" : "lost";
    return { file, origin, reason, cutBytes };
  }

  /** As last given; on disk once its save is done. */
  get state(): AcceptorState {
    return this.#state;
  }

  /** Whether a {@linkcode save} is under way. */
  get isSaving(): boolean {
    return this.#log.isSyncing;
  }

  /**
   * Resolves when the state survives power loss. Several may be under way; the
   * last one counts.
   *
   * @throws {StorageError} `write-failed`; exit, and answer nobody.
   */
  async save(state: AcceptorState): Promise<void> {
    if (!this.#append(state)) await this.#log.sync();
    this.#saved();
  }

  /**
   * The same, but blocks the process until it is done.
   *
   * @throws {Error} A {@linkcode save} is under way.
   * @throws {StorageError} `write-failed`; exit, and answer nobody.
   */
  saveNow(state: AcceptorState): void {
    if (this.#log.isSyncing) {
      throw new Error("Cannot save at once: a save runs");
    }
    if (!this.#append(state)) this.#log.syncNow();
    this.#saved();
  }

  /** @throws {StorageError} `write-failed`, also when that had happened before. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#preparing;
    await this.#log.close();
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Writes the state. Returns whether it is on disk already. */
  #append(state: AcceptorState): boolean {
    if (this.#failure !== undefined) throw this.#failure;
    const record = encode(this.store, state);
    this.#state = state;
    this.#recordCount += 1;
    if (!this.#log.isPrepared) {
      this.#log.append([record]);
      return false;
    }
    this.#log.renewNow(record);
    this.#recordCount = 1;
    this.#preparing = undefined;
    return true;
  }

  #saved(): void {
    // The close, which came meanwhile, marks it.
    if (this.#isClosed) return;
    // A promise that rots as the last record would pass for a torn tail, unless
    // a mark follows it.
    this.#log.mark();
    if (this.#recordCount < this.#recordsMax) return;
    this.#preparing ??= this.#log.prepare().catch((error) => {
      this.#failure ??= error;
    });
  }
}

function encode(store: StoreId, state: AcceptorState): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({
    store,
    promised: state.promised,
    accepted: state.accepted ?? null,
    damaged: state.isDamaged,
  }));
}

function parse(
  record: Uint8Array,
  path: string,
): { store: StoreId; state: AcceptorState } {
  try {
    const value = parseJson(record);
    if (!RECORD.Check(value)) throw new Error("its fields are wrong");
    const { store, promised, damaged } = value;
    const accepted: View | undefined = value.accepted === null
      ? undefined
      : readView(value.accepted);
    return { store, state: { promised, accepted, isDamaged: damaged } };
  } catch (cause) {
    if (!(cause instanceof Error)) throw cause;
    throw new StorageError(
      "wrong-format",
      `Cannot read "${path}": a record is whole, and is none that this version ` +
        `knows (${causeText(cause)}); run the version that wrote it`,
      // A position says that it is not the header.
      { path, position: 16, cause },
    );
  }
}

function drawStoreId(disk: Disk): StoreId {
  for (;;) {
    const id = [disk.randomUint32(), disk.randomUint32()]
      .map((half) => half.toString(16).padStart(8, "0")).join("");
    if (id !== EPOCH_NONE.store) return id;
  }
}

/** Keeps what is bad for the operator, in place of what was kept before. */
async function moveAway(disk: Disk, directory: string): Promise<void> {
  for (const name of disk.list(directory)) {
    if (!FILE_NAME.test(name)) continue;
    const path = join(directory, name);
    disk.rename(path, path + DAMAGED_SUFFIX);
  }
  await disk.syncDirectory(directory);
}

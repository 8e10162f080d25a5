/** The file `state.db`: opened or begun anew, made durable, replaced as a whole. */

import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { causeText, StorageError } from "../../../storage/errors.ts";
import {
  isDamage,
  PAGE_BYTES,
  StateDatabase,
  WRITER_PRAGMAS,
} from "./state_database.ts";
import {
  APPLICATION_ID,
  createTables,
  SCHEMA_VERSION,
} from "./state_schema.ts";

/** How a state's file was found. */
export interface OpenedState {
  readonly kind: "found" | "missing" | "damaged" | "other-version";
  /** A sentence for the operator; empty if found or missing. */
  readonly reason: string;
}

/** A path that names no file. */
export const IN_MEMORY = ":memory:";

/**
 * Size at which the write-ahead log is emptied. Moving 4 MiB of pages takes
 * about 5 ms, in which nothing else goes on.
 */
const WAL_BYTES_MAX = 4_194_304;

/** A connection that sees the state as it was when this was made. */
export interface StateReader {
  readonly database: StateDatabase;
  close(): void;
}

/** A database in the making, to take the place of the one in use. */
export interface NewStateFile {
  readonly database: StateDatabase;
  /** Closes and removes it. */
  discard(): void;
}

/**
 * Skein syncs the files by itself, off the event loop, and SQLite never does
 * (`synchronous = off`): its own syncs would hold up the whole process. That
 * is safe as long as three things are kept, which are what SQLite would do:
 * the write-ahead log is synced before its pages go into the database; the
 * database is synced before the log is cut; the cut is synced before anything
 * new is written. Nothing else may be written meanwhile, and no reader may be
 * there, or the log would be begun anew at another moment.
 */
export class StateFile {
  readonly path: string;
  readonly opened: OpenedState;
  #database: StateDatabase;
  /**
   * Kept open as long as SQLite has the files: closing any handle of a file
   * would drop the locks that this process holds on it.
   */
  #handles:
    | { readonly main: Deno.FsFile; readonly wal: Deno.FsFile }
    | undefined;
  #isNameDurable = false;

  private constructor(
    path: string,
    options: { opened: OpenedState; database: StateDatabase },
  ) {
    this.path = path;
    this.opened = options.opened;
    this.#database = options.database;
    this.#openHandles();
  }

  /**
   * Opens the file and loads from it; one that cannot be loaded for what is in
   * it is removed, and an empty one made.
   *
   * @param load Called with the database, perhaps twice; may throw.
   * @throws {StorageError} `open-failed`.
   */
  static open<T>(
    path: string,
    load: (database: StateDatabase) => T,
  ): { file: StateFile; loaded: T } {
    if (path === IN_MEMORY) {
      const database = new StateDatabase(create(path));
      const opened: OpenedState = { kind: "missing", reason: "" };
      return {
        file: new StateFile(path, { opened, database }),
        loaded: load(database),
      };
    }
    removeIfThere(newPathOf(path));
    const found = openFound(path, load);
    if ("loaded" in found) {
      const opened: OpenedState = { kind: "found", reason: "" };
      const { database, loaded } = found;
      return { file: new StateFile(path, { opened, database }), loaded };
    }
    try {
      removeDatabase(path);
      makePrivate(path);
      const database = new StateDatabase(create(path));
      return {
        file: new StateFile(path, { opened: found, database }),
        loaded: load(database),
      };
    } catch (error) {
      throw openError(path, error);
    }
  }

  /** The one connection that writes. */
  get database(): StateDatabase {
    return this.#database;
  }

  get isInMemory(): boolean {
    return this.path === IN_MEMORY;
  }

  /** Whether {@linkcode reclaim} is due. */
  get isWalLarge(): boolean {
    if (this.#handles === undefined) return false;
    return this.#handles.wal.statSync().size > WAL_BYTES_MAX;
  }

  /** A connection of its own that stays at what is written now. Not in memory. */
  openReader(): StateReader {
    const connection = new DatabaseSync(this.path, { readOnly: true });
    try {
      connection.exec("pragma cache_size = -512; begin");
      const database = new StateDatabase(connection);
      // Only the first read settles what is seen.
      database.mark();
      return { database, close: () => connection.close() };
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  /** Resolves when all that is written survives a power loss. */
  async sync(): Promise<void> {
    if (this.#handles === undefined) return;
    const { main, wal } = this.#handles;
    if (!this.#isNameDurable) {
      // SQLite ignores a write-ahead log whose database is empty.
      await main.sync();
      await wal.sync();
      using directory = Deno.openSync(dirname(this.path), { read: true });
      await directory.sync();
      this.#isNameDurable = true;
    }
    await wal.syncData();
  }

  /**
   * Moves what is in the write-ahead log into the database and empties the
   * log. Nobody may write or have a reader until it is over.
   */
  async reclaim(): Promise<void> {
    if (this.#handles === undefined) return;
    const { main, wal } = this.#handles;
    await this.sync();
    this.#checkpoint("passive");
    await main.sync();
    this.#checkpoint("truncate");
    await wal.sync();
  }

  /** Begins a database that may take the place of this one. */
  createNew(): NewStateFile {
    if (this.isInMemory) {
      const connection = create(IN_MEMORY);
      return {
        database: new StateDatabase(connection),
        discard: () => connection.close(),
      };
    }
    const path = newPathOf(this.path);
    removeIfThere(path);
    makePrivate(path);
    const connection = new DatabaseSync(path);
    // No journal: what is not finished is thrown away.
    connection.exec(
      `pragma page_size = ${PAGE_BYTES}; pragma journal_mode = off;
      pragma synchronous = off; pragma cache_size = -8192`,
    );
    createTables(connection);
    return {
      database: new StateDatabase(connection),
      discard: () => {
        connection.close();
        removeIfThere(path);
      },
    };
  }

  /**
   * Puts a finished database in the place of this one, durably. After a crash
   * either the old or the new one is there.
   */
  async adopt(made: NewStateFile): Promise<void> {
    if (this.isInMemory) {
      this.#database.connection.close();
      this.#database = made.database;
      return;
    }
    const path = newPathOf(this.path);
    made.database.connection.close();
    {
      using whole = Deno.openSync(path, { read: true, write: true });
      await whole.sync();
    }
    this.close();
    // A write-ahead log of the old database must never meet the new one.
    removeIfThere(`${this.path}-wal`);
    removeIfThere(`${this.path}-shm`);
    using directory = Deno.openSync(dirname(this.path), { read: true });
    directory.syncSync();
    Deno.renameSync(path, this.path);
    directory.syncSync();
    this.#database = new StateDatabase(openWriter(this.path));
    this.#isNameDurable = false;
    this.#openHandles();
  }

  /** Closes all; SQLite syncs what is left to be moved. */
  close(): void {
    const { connection } = this.#database;
    if (connection.isTransaction) connection.exec("rollback");
    if (!this.isInMemory) connection.exec("pragma synchronous = normal");
    connection.close();
    this.#handles?.main.close();
    this.#handles?.wal.close();
    this.#handles = undefined;
  }

  /**
   * What an error of SQLite means. A damaged database is removed, so that the
   * next start rebuilds it.
   */
  failure(error: unknown): unknown {
    if (error instanceof StorageError) return error;
    if (isDamage(error)) {
      if (!this.isInMemory) removeIfThere(this.path);
      return new StorageError(
        "damaged",
        `Cannot read "${this.path}": ${
          causeText(error)
        }; it is removed, start again to rebuild it`,
        { path: this.path, cause: error },
      );
    }
    // Errors of `exec` have no number of SQLite's own, only this code.
    const isSqlite = error instanceof Error && "code" in error &&
      error.code === "ERR_SQLITE_ERROR";
    if (!isSqlite) return error;
    return new StorageError(
      "write-failed",
      `Cannot write "${this.path}": ${causeText(error)}`,
      { path: this.path, cause: error },
    );
  }

  #openHandles(): void {
    if (this.isInMemory) return;
    this.#handles = {
      main: Deno.openSync(this.path, { read: true, write: true }),
      wal: Deno.openSync(`${this.path}-wal`, { read: true, write: true }),
    };
  }

  /** All of the log must be moved: there is no reader, see {@linkcode reclaim}. */
  #checkpoint(mode: "passive" | "truncate"): void {
    const row = this.#database.connection
      .prepare(`pragma wal_checkpoint(${mode})`).get();
    if (row === undefined || row.busy !== 0 || row.log !== row.checkpointed) {
      throw new Error(
        `Checkpoint (${mode}) of "${this.path}" moved ${row?.checkpointed} of ${row?.log} pages`,
      );
    }
  }
}

function newPathOf(path: string): string {
  return `${path}.new`;
}

function create(path: string): DatabaseSync {
  const connection = new DatabaseSync(path);
  connection.exec(WRITER_PRAGMAS);
  createTables(connection);
  return connection;
}

function openWriter(path: string): DatabaseSync {
  const connection = new DatabaseSync(path);
  try {
    setUpWriter(connection);
    return connection;
  } catch (error) {
    connection.close();
    throw error;
  }
}

function setUpWriter(connection: DatabaseSync): void {
  connection.exec(WRITER_PRAGMAS);
  // The file of the log is there only once something was written to it.
  connection.exec("begin immediate; update mark set one = 1; commit");
  new StateDatabase(connection).dropUnmarked();
}

function openFound<T>(
  path: string,
  load: (database: StateDatabase) => T,
): { database: StateDatabase; loaded: T } | OpenedState {
  if (!exists(path)) return { kind: "missing", reason: "" };
  let connection: DatabaseSync | undefined;
  try {
    connection = new DatabaseSync(path);
    const version = versionOf(connection);
    if (version !== SCHEMA_VERSION) {
      connection.close();
      const found = version === undefined
        ? "is no database of Skein"
        : `has version ${version}, wanted ${SCHEMA_VERSION}`;
      return {
        kind: "other-version",
        reason: `"${path}" ${found}; it is made anew`,
      };
    }
    setUpWriter(connection);
    const database = new StateDatabase(connection);
    return { database, loaded: load(database) };
  } catch (error) {
    connection?.close();
    if (!isDamage(error)) throw openError(path, error);
    return {
      kind: "damaged",
      reason: `"${path}" is damaged (${causeText(error)}); it is made anew`,
    };
  }
}

/** @returns `undefined` if the database is not one of Skein's. */
function versionOf(connection: DatabaseSync): number | undefined {
  const { application_id: id } =
    connection.prepare("pragma application_id").get() ?? {};
  const { user_version: version } =
    connection.prepare("pragma user_version").get() ?? {};
  return id === APPLICATION_ID && typeof version === "number"
    ? version
    : undefined;
}

/** SQLite makes its other files with the same mode. */
function makePrivate(path: string): void {
  Deno.openSync(path, { write: true, create: true, mode: 0o600 }).close();
}

function removeDatabase(path: string): void {
  for (const suffix of ["", "-wal", "-shm"]) removeIfThere(path + suffix);
}

function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw openError(path, error);
  }
}

function openError(path: string, cause: unknown): StorageError {
  return new StorageError(
    "open-failed",
    `Cannot open "${path}": ${causeText(cause)}`,
    { path, cause },
  );
}

/** The shared log, as a server of the mesh uses it: written, waited for, read back. */

import type { HistoryLine } from "../../protocol/mesh.ts";
import { StorageError } from "../../storage/errors.ts";
import { SharedLog, type SharedLogTrouble } from "../../storage/shared_log.ts";
import { readHistory } from "../../storage/shared_log_reader.ts";
import type { Log } from "../host/log.ts";
import { SeldomLog } from "../host/seldom_log.ts";
import { settleWithin } from "../host/settle_within.ts";
import type { MeshLogEntry } from "./contract.ts";

/** How often it is looked whether a full queue has gone down. */
const LOOK_MS = 20;

/** How long a question waits for what was said before it to be in the file. */
const QUESTION_WAIT_MS = 1_000;

/** Parts of the log, of 16 MiB, that are looked through for one question. */
const PAGES_MAX = 8;

/** What opens it. */
export interface MeshLogOptions {
  readonly path: string;
  readonly server: string;
  readonly fileBytesMax: number;
  readonly filesMax: number;
  readonly log: Log;
}

/** A question for what was said. */
export interface HistoryQuestion {
  readonly room?: string;
  readonly limit: number;
  readonly before?: number;
}

/** Troubles that last until the log goes on. */
const LASTING: readonly SharedLogTrouble["kind"][] = [
  "waiting",
  "write-failed",
  "rotation-failed",
];

interface LogState {
  /** Why the log does not go on just now. */
  trouble: string | undefined;
}

/** Never throws for a log that fails: it is told, and the chat goes on. */
export class MeshLog {
  /** Entries that could not be kept. */
  lostEntries = 0;
  readonly #path: string;
  readonly #server: string;
  readonly #shared: SharedLog;
  readonly #said: SeldomLog;
  readonly #state: LogState;
  #goesOn: Promise<void> | undefined;
  /** Who waits for what was written last; no more than entries wait. */
  #waiting: (() => void)[] = [];
  #isTelling = false;

  private constructor(
    shared: SharedLog,
    options: {
      readonly path: string;
      readonly server: string;
      readonly said: SeldomLog;
      readonly state: LogState;
    },
  ) {
    this.#shared = shared;
    this.#state = options.state;
    this.#path = options.path;
    this.#server = options.server;
    this.#said = options.said;
  }

  /** @throws {StorageError} It cannot be used: refuse to start. */
  static async open(options: MeshLogOptions): Promise<MeshLog> {
    const { path, server, fileBytesMax, filesMax, log } = options;
    const said = new SeldomLog(log);
    const state: LogState = { trouble: undefined };
    const shared = await SharedLog.open(path, {
      ...{ server, fileBytesMax, filesMax },
      onTrouble: (trouble) => {
        state.trouble = troubleAfter(trouble, state.trouble);
        const isOver = trouble.kind === "going-on";
        if (isOver) {
          for (const kind of LASTING) said.forget(`log ${kind}`);
        }
        said.say(isOver ? "info" : "warn", `log ${trouble.kind}`, {
          message: trouble.message,
        });
      },
    });
    for (const warning of shared.warnings) log.warn(warning);
    return new MeshLog(shared, { path, server, said, state });
  }

  /** Queues an entry; it is in the file soon, or {@linkcode trouble} says why not. */
  write(entry: MeshLogEntry): void {
    try {
      this.#shared.append(entry);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      this.lostEntries += 1;
      this.#said.say("warn", "log lost", {
        message: `Cannot keep what happens in the log: ${error.message}`,
      });
    }
  }

  /**
   * Calls `then` once all that was written until now is in the file, in order;
   * never if the log is closed before.
   */
  afterWritten(then: () => void): void {
    this.#waiting.push(then);
    if (!this.#isTelling) void this.#tellWritten();
  }

  /** Why the log does not go on just now; undefined if it does. */
  get trouble(): string | undefined {
    return this.#state.trouble;
  }

  /** Whether so much waits that nothing more should be taken from people. */
  get isFull(): boolean {
    return this.#shared.isFull;
  }

  /** Resolves once it is not full. */
  whenGoesOn(): Promise<void> {
    this.#goesOn ??= this.#untilNotFull();
    return this.#goesOn;
  }

  get queuedBytes(): number {
    return this.#shared.queuedBytes;
  }

  get counters(): SharedLog["counters"] {
    return this.#shared.counters;
  }

  /** What was said, oldest first. */
  async history(
    question: HistoryQuestion,
  ): Promise<{ messages: readonly HistoryLine[]; more: boolean }> {
    await settleWithin(this.#untilWritten(), QUESTION_WAIT_MS);
    let before = question.before;
    for (let page = 1;; page += 1) {
      const { entries, more, searchedTo } = await readHistory(this.#path, {
        ...question,
        // What was said to the people of one server alone is told to them alone.
        ...{ before, type: "msg", to: this.#server },
      });
      // What else is in the log may be much more than what was said.
      if (entries.length === 0 && more && page < PAGES_MAX) {
        before = searchedTo;
        continue;
      }
      return {
        messages: entries.map(({ seq, time, server, from, text, room }) => ({
          ...{ seq, time, server, from: from ?? "", text: text ?? "" },
          ...room !== undefined && { room },
        })),
        more,
      };
    }
  }

  /** Writes what waits, within `waitMs`, and closes. */
  async close(waitMs: number): Promise<void> {
    const { lostEntries } = await this.#shared.close(waitMs);
    this.lostEntries += lostEntries;
  }

  async #tellWritten(): Promise<void> {
    this.#isTelling = true;
    while (this.#waiting.length > 0) {
      const told = this.#waiting;
      this.#waiting = [];
      if (!await this.#untilWritten()) return;
      for (const then of told) then();
    }
    this.#isTelling = false;
  }

  /** @returns Whether it is; false: the log was closed before. */
  async #untilWritten(): Promise<boolean> {
    try {
      await this.#shared.flush();
      return true;
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      return false;
    }
  }

  async #untilNotFull(): Promise<void> {
    while (this.#shared.isFull) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    this.#goesOn = undefined;
  }
}

function troubleAfter(
  { kind, message }: SharedLogTrouble,
  before: string | undefined,
): string | undefined {
  if (kind === "going-on") return undefined;
  return LASTING.includes(kind) ? message : before;
}

/**
 * A small deterministic state for simulated servers: named lists that only
 * grow, with the production's sessions for exactly once.
 */

import { EPOCH_NONE, type StoreId } from "../../protocol/epoch.ts";
import type { LogEntry, LogPosition } from "../../protocol/replica.ts";
import { codeNumber, type Result } from "../../nodes/chat/state/results.ts";
import {
  type EndedRow,
  type SessionRow,
  SessionTable,
} from "../../nodes/chat/state/sessions.ts";

/** Everything as of one position; not changed afterwards. */
export interface ChatSnapshot {
  readonly position: LogPosition;
  readonly hash: number;
  readonly lists: ReadonlyMap<string, readonly string[]>;
  readonly sessions: readonly SessionRow[];
  readonly ended: readonly EndedRow[];
}

/** A command as the simulated service words it. */
export type ChatCommand =
  | { readonly kind: "open"; readonly session: string; readonly seen: number }
  | { readonly kind: "expire"; readonly session: string }
  /** Ends the group if nothing is in it. */
  | { readonly kind: "dissolve"; readonly into: StoreId }
  | {
    readonly kind: "append";
    readonly session: string;
    readonly sequence: number;
    readonly key: string;
    readonly value: string;
  };

/** What became of an entry. */
export interface Applied {
  readonly command: ChatCommand | undefined;
  readonly result: Result;
  /** It took effect now, and not earlier. */
  readonly isFirst: boolean;
}

const NO_SECRET = "0".repeat(64);
const DONE: Result = { code: "ok", value: 0 };
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Words of few letters: the bytes of a command. */
export function encodeCommand(command: ChatCommand): Uint8Array {
  switch (command.kind) {
    case "open":
      return encoder.encode(`o ${command.session} ${command.seen}`);
    case "expire":
      return encoder.encode(`x ${command.session}`);
    case "dissolve":
      return encoder.encode(`d ${command.into}`);
    case "append": {
      const { session, sequence, key, value } = command;
      return encoder.encode(`a ${session} ${sequence} ${key} ${value}`);
    }
  }
}

/** Undefined for an empty entry. */
export function decodeCommand(bytes: Uint8Array): ChatCommand | undefined {
  if (bytes.length === 0) return undefined;
  const [kind, session, ...rest] = decoder.decode(bytes).split(" ");
  switch (kind) {
    case "o":
      return { kind: "open", session, seen: Number(rest[0]) };
    case "x":
      return { kind: "expire", session };
    case "d":
      return { kind: "dissolve", into: session };
    case "a":
      return {
        kind: "append",
        session,
        sequence: Number(rest[0]),
        key: rest[1],
        value: rest[2],
      };
    default:
      throw new Error(`Not a command: "${decoder.decode(bytes)}"`);
  }
}

/** What a server has applied. */
export class ChatState {
  position: LogPosition;
  /** Of all that was applied and what came of it. */
  hash: number;
  readonly sessions: SessionTable;
  /** In no snapshot: whoever has applied this begins anew. */
  isDissolved = false;
  readonly #lists = new Map<string, string[]>();

  constructor(snapshot?: ChatSnapshot) {
    this.position = snapshot?.position ?? { index: 0, epoch: EPOCH_NONE };
    this.hash = snapshot?.hash ?? 0;
    this.sessions = new SessionTable(snapshot);
    for (const [key, list] of snapshot?.lists ?? []) {
      this.#lists.set(key, [...list]);
    }
  }

  get index(): number {
    return this.position.index;
  }

  /** Whether there is nothing that anybody could miss. */
  get isVoid(): boolean {
    return this.sessions.size === 0 && this.#lists.size === 0;
  }

  list(key: string): readonly string[] {
    return this.#lists.get(key) ?? [];
  }

  lists(): ReadonlyMap<string, readonly string[]> {
    return this.#lists;
  }

  apply(entry: LogEntry): Applied {
    const { index, epoch } = entry;
    if (index !== this.index + 1) {
      throw new Error(`Entry ${index} comes after ${this.index}`);
    }
    this.position = { index, epoch };
    this.sessions.advance(index);
    // Nothing counts after the end of the group.
    const command = this.isDissolved ? undefined : decodeCommand(entry.command);
    const { result, isFirst } = command === undefined
      ? { result: DONE, isFirst: false }
      : this.#execute(command, index);
    this.#mix(index);
    this.#mix(epoch.counter);
    for (const byte of entry.command) this.#mix(byte);
    this.#mix(codeNumber(result.code) + result.value * 16);
    return { command, result, isFirst };
  }

  snapshot(): ChatSnapshot {
    const { position, hash, sessions } = this;
    return {
      position: { index: position.index, epoch: position.epoch },
      hash,
      lists: new Map(
        Array.from(this.#lists, ([key, list]) => [key, [...list]]),
      ),
      sessions: Array.from(
        sessions.rows(),
        (row) => ({ ...row, results: [...row.results] }),
      ),
      ended: [...sessions.endedRows()],
    };
  }

  #execute(
    command: ChatCommand,
    index: number,
  ): { result: Result; isFirst: boolean } {
    if (command.kind === "dissolve") {
      const isFirst = this.isVoid;
      this.isDissolved ||= isFirst;
      return { result: DONE, isFirst };
    }
    const { session: id } = command;
    const timeMs = index;
    switch (command.kind) {
      case "open": {
        const { result } = this.sessions.open({
          id,
          secretHash: NO_SECRET,
          user: parseInt(id.slice(-4), 16),
          seen: command.seen,
          index,
          timeMs,
        });
        return { result, isFirst: false };
      }
      case "expire": {
        const session = this.sessions.get(id);
        if (session === undefined) return { result: DONE, isFirst: false };
        this.sessions.end(session, { index, reason: "expired" });
        return { result: DONE, isFirst: true };
      }
      case "append": {
        const known = this.sessions.judge(id, command.sequence);
        const session = this.sessions.get(id);
        if (known !== undefined) return { result: known, isFirst: false };
        if (session === undefined) throw new Error("A session without a row");
        const list = this.#lists.get(command.key) ?? [];
        this.#lists.set(command.key, list);
        const result: Result = { code: "ok", value: list.push(command.value) };
        this.sessions.complete(session, { result, index, timeMs });
        return { result, isFirst: true };
      }
    }
  }

  #mix(number: number): void {
    this.hash = Math.imul(this.hash ^ number, 0x01000193) + 0x9e3779b9 | 0;
  }
}

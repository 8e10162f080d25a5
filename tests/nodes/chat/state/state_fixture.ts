/** Entries of a log, made by hand or at random, and states that apply them. */

import { assertEquals } from "@std/assert";
import type { Epoch } from "../../../../protocol/epoch.ts";
import type { LogEntry } from "../../../../protocol/replica.ts";
import {
  type Command,
  encodeCommand,
} from "../../../../nodes/chat/state/commands.ts";
import type { ChatState } from "../../../../nodes/chat/state/state.ts";

export const EPOCH: Epoch = { counter: 3, store: "00000000000000aa" };

/** A number as hexadecimal digits. */
export function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}

/** Some session's id, secret's hash and so on by number. */
export function sessionId(number: number): string {
  return hex(number, 16);
}

/** A log that grows by a command at a time. */
export class History {
  readonly entries: LogEntry[] = [];

  /** Index of the last entry. */
  get index(): number {
    return this.entries.length;
  }

  /** Adds a command, and gives its entry. */
  add(command: Command): LogEntry {
    return this.addBytes(encodeCommand(command));
  }

  addBytes(command: Uint8Array): LogEntry {
    const entry = { index: this.index + 1, epoch: EPOCH, command };
    this.entries.push(entry);
    return entry;
  }

  register(user: string, token = hex(this.index, 32)): LogEntry {
    return this.add({
      kind: "register",
      user,
      phc: "phc",
      token,
      seen: this.index,
      time: 1_000 + this.index,
    });
  }

  open(
    session: number,
    user: { readonly name: string; readonly id: number },
  ): LogEntry {
    return this.add({
      kind: "open-session",
      session: sessionId(session),
      secretHash: hex(session, 64),
      user: user.name,
      userId: user.id,
      seen: this.index,
      time: 1_000 + this.index,
    });
  }

  send(
    [session, sequence]: readonly [number, number],
    to: string,
    text = "hello",
  ): LogEntry {
    return this.add({
      kind: "send",
      session: sessionId(session),
      sequence,
      to,
      text,
      time: 1_000 + this.index,
    });
  }

  markRead(
    [session, sequence]: readonly [number, number],
    upTo: number,
  ): LogEntry {
    return this.add({
      kind: "mark-read",
      session: sessionId(session),
      sequence,
      upTo,
      time: 1_000 + this.index,
    });
  }

  close([session, sequence]: readonly [number, number]): LogEntry {
    return this.add({
      kind: "close-session",
      session: sessionId(session),
      sequence,
      time: 1_000 + this.index,
    });
  }

  deleteAccount([session, sequence]: readonly [number, number]): LogEntry {
    return this.add({
      kind: "delete-account",
      session: sessionId(session),
      sequence,
      time: 1_000 + this.index,
    });
  }
}

/** All chunks of a state's dump. */
export async function dumpOf(state: ChatState): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of state.dump()) chunks.push(chunk);
  return chunks;
}

/** Compares dumps; a whole one in a message would help nobody. */
export function assertSameDump(
  actual: readonly Uint8Array[],
  expected: readonly Uint8Array[],
): void {
  assertEquals(
    actual.map(({ length }) => length),
    expected.map(({ length }) => length),
    "Chunks differ in length",
  );
  actual.forEach((chunk, number) => {
    const at = chunk.findIndex((byte, place) =>
      byte !== expected[number][place]
    );
    assertEquals(at, -1, `Chunk ${number} differs at byte ${at}`);
  });
}

/** Runs `work` with a directory of its own. */
export async function inDirectory(
  work: (directory: string) => Promise<void>,
): Promise<void> {
  const directory = Deno.makeTempDirSync({ prefix: "state_test_" });
  try {
    await work(directory);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

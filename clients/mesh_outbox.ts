/** Commands of a mesh chat client until they have their results: in order, and no message twice. */

import type { MeshRequestId, ToClient } from "../protocol/mesh.ts";
import type {
  MeshCommand,
  MeshResult,
  MeshWritten,
} from "./mesh_chat_contract.ts";

/** Commands sent and not answered. */
const SENT_MAX = 64;

/** Commands and characters kept; beyond it no more input is read, but for the rest of a block. */
const COMMANDS_MAX = 1_024;
const CHARACTERS_MAX = 4_194_304;

interface Kept {
  readonly command: MeshCommand;
  /** Of its request; undefined: not sent since the link stands. */
  id: number | undefined;
}

/** What an answer settles. */
export interface Settled {
  readonly command: MeshCommand;
  readonly result: MeshResult;
}

/** Keeps commands in order. */
export class MeshOutbox {
  #kept: Kept[] = [];
  #characters = 0;
  #sentCount = 0;

  /** Commands without a result. */
  get size(): number {
    return this.#kept.length;
  }

  /** Commands sent and not answered. */
  get sentCount(): number {
    return this.#sentCount;
  }

  get hasRoom(): boolean {
    return this.#kept.length < COMMANDS_MAX &&
      this.#characters < CHARACTERS_MAX;
  }

  add(command: MeshCommand): void {
    this.#kept.push({ command, id: undefined });
    this.#characters += sizeOf(command);
  }

  /** The lines to send now; as many as may wait for their answers. */
  take(nextId: () => number): string {
    let lines = "";
    for (const kept of this.#kept) {
      if (this.#sentCount >= SENT_MAX) break;
      if (kept.id !== undefined) continue;
      kept.id = nextId();
      this.#sentCount += 1;
      lines += `${
        JSON.stringify({ ...requestOf(kept.command), id: kept.id })
      }\n`;
    }
    return lines;
  }

  /** What an answer with this id settles, if anything. */
  answer(id: MeshRequestId, answer: ToClient): Settled | undefined {
    const at = this.#kept.findIndex((kept) => kept.id === id);
    if (at < 0) return undefined;
    const [{ command }] = this.#kept.splice(at, 1);
    this.#characters -= sizeOf(command);
    this.#sentCount -= 1;
    return { command, result: resultOf(answer) };
  }

  /**
   * The link is gone: what only asked for something is asked again, and a
   * message is not sent again, for it may be there already.
   *
   * @returns Messages of which nobody knows.
   */
  linkDown(): readonly MeshWritten[] {
    const unknown: MeshWritten[] = [];
    this.#sentCount = 0;
    this.#kept = this.#kept.filter((kept) => {
      const { command, id } = kept;
      if (id === undefined) return true;
      kept.id = undefined;
      if (command.kind !== "say" && command.kind !== "dm") return true;
      unknown.push(command);
      this.#characters -= sizeOf(command);
      return false;
    });
    return unknown;
  }
}

function sizeOf(command: MeshCommand): number {
  return "text" in command ? command.text.length : 0;
}

function resultOf(answer: ToClient): MeshResult {
  switch (answer.type) {
    case "ok":
      return { kind: "ok", n: answer.n };
    case "error": {
      const { code, text } = answer;
      return { kind: "refused", problem: { code, text } };
    }
    default:
      return { kind: "answered", answer };
  }
}

/** The request, as the wire has it. */
function requestOf(command: MeshCommand): Readonly<Record<string, unknown>> {
  switch (command.kind) {
    case "say": {
      const { text, room, isLocal } = command;
      return { type: "msg", text, room, ...isLocal && { local: true } };
    }
    case "dm":
      return { type: "dm", to: command.to, text: command.text };
    case "join":
    case "leave":
    case "who":
      return { type: command.kind, room: command.room };
    case "history": {
      const { room, limit, before } = command;
      return { type: "history", room, limit, before };
    }
    case "topology":
      return { type: "topology", topology: command.topology };
    case "servers":
      return { type: "status" };
    case "rooms":
    case "trace":
      return { type: command.kind };
  }
}

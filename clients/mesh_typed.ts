/** What somebody types into `skein chat` at a mesh server. */

import { readUserName } from "../protocol/chat.ts";
import { WireError } from "../protocol/errors.ts";
import {
  HISTORY_LIMIT_DEFAULT,
  HISTORY_LIMIT_MAX,
  TOPOLOGIES,
} from "../protocol/mesh.ts";
import { checkMeshText, readRoomName } from "../protocol/mesh_requests.ts";
import { escapeText } from "../nodes/host/text.ts";
import type { MeshCommand } from "./mesh_chat_contract.ts";

/** What a line means. */
export type MeshTyped =
  | { readonly kind: "nothing" }
  | { readonly kind: "command"; readonly command: MeshCommand }
  /** Where lines without an address go from now on; undefined: to everyone. */
  | { readonly kind: "room"; readonly room: string | undefined }
  | { readonly kind: "help" }
  | { readonly kind: "quit" }
  | { readonly kind: "wrong"; readonly text: string };

/** Where a line comes from, and where it would go. */
export interface TypedWhere {
  /** Number of the line in the input, 1 first. */
  readonly line: number;
  /** The room that lines go to; undefined: everyone. */
  readonly room: string | undefined;
}

/** What `/help` says. */
export const MESH_TYPED_HELP =
  `TEXT                to everyone, or to the room that you are talking to
@NAME TEXT          to one alone, wherever he is (/dm NAME TEXT as well)
/room R             talk to room R from now on; /all talks to everyone again
/join R, /leave R   hear a room, or no more
/rooms              which rooms there are
/who [R]            who is there, or in a room
/history [R] [N] [BEFORE]
                    the last N messages, ${HISTORY_LIMIT_DEFAULT} unless said; those before number BEFORE
/local TEXT         only to those at the same server as you
/servers            which servers there are, and how many are at each
/topology [${TOPOLOGIES.join("|")}]
                    how messages go from server to server, or switch it
/trace              which way a message takes to each server, and how long
/quit               leave (Ctrl-D as well)`;

/** Reads a line; a second slash says that the first belongs to the text. */
export function readMeshTyped(line: string, where: TypedWhere): MeshTyped {
  const text = line.replace(/\r$/, "");
  if (text.trim() === "") return { kind: "nothing" };
  try {
    const addressed = /^@(\S+?)[:,]?\s+(\S.*)$/s.exec(text);
    if (addressed !== null) {
      return direct(addressed[1], addressed[2], where.line);
    }
    if (/^@\S+\s*$/.test(text)) {
      return wrong(`What? Say "${escapeText(text.trim())} TEXT"`);
    }
    if (text.startsWith("/") && !text.startsWith("//")) {
      return slash(text, where);
    }
    return say(text.startsWith("//") ? text.slice(1) : text, where);
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    return wrong(error.message);
  }
}

function say(text: string, { line, room }: TypedWhere): MeshTyped {
  checkMeshText(text);
  return command({
    ...{ kind: "say", text, line, isLocal: false },
    ...room !== undefined && { room },
  });
}

function direct(name: string, text: string, line: number): MeshTyped {
  checkMeshText(text);
  return command({ kind: "dm", to: readUserName(name), text, line });
}

function slash(text: string, where: TypedWhere): MeshTyped {
  const [, name, rest = ""] = /^\/(\S*)(?:\s+(.*))?$/s.exec(text) ?? [];
  switch (name) {
    case "dm":
    case "msg": {
      const [, to, body] = /^@?(\S+)\s+(\S.*)$/s.exec(rest) ?? [];
      if (to === undefined) return wrong(`Say "/${name} NAME TEXT"`);
      return direct(to, body, where.line);
    }
    case "local":
      if (rest.trim() === "") return wrong('Say "/local TEXT"');
      checkMeshText(rest);
      return command({
        ...{ kind: "say", text: rest, isLocal: true, line: where.line },
      });
    case "join":
    case "leave": {
      const room = rest.trim() === "" && name === "leave"
        ? where.room
        : rest.trim();
      if (room === undefined || room === "") {
        return wrong(`Say "/${name} ROOM"`);
      }
      return command({ kind: name, room: roomNamed(room) });
    }
    case "room":
      if (rest.trim() === "") return wrong('Say "/room ROOM"');
      return { kind: "room", room: roomNamed(rest.trim()) };
    case "all":
      return { kind: "room", room: undefined };
    case "who":
      return command({
        kind: "who",
        ...rest.trim() !== "" && { room: roomNamed(rest.trim()) },
      });
    case "history":
      return history(rest);
    case "topology":
      return topology(rest.trim());
    case "rooms":
    case "trace":
    case "servers":
      return command({ kind: name });
    case "help":
    case "?":
      return { kind: "help" };
    case "quit":
    case "exit":
      return { kind: "quit" };
    default:
      return wrong(`"/${escapeText(name ?? "")}" is no command; try /help`);
  }
}

/** `[R] [N] [BEFORE]`: what begins with `#`, or is no number, is a room. */
function history(rest: string): MeshTyped {
  const words = rest.split(/\s+/).filter((word) => word !== "");
  const isRoom = words.length > 0 && !/^\d+$/.test(words[0]);
  const room = isRoom ? roomNamed(words[0]) : undefined;
  const numbers = (isRoom ? words.slice(1) : words).map(wholeNumber);
  const [limit = HISTORY_LIMIT_DEFAULT, before] = numbers;
  const isWrong = numbers.length > 2 || numbers.includes(undefined) ||
    limit < 1 || limit > HISTORY_LIMIT_MAX;
  if (isWrong) {
    return wrong(
      `Say "/history [ROOM] [N] [BEFORE]" with N from 1 to ${HISTORY_LIMIT_MAX}`,
    );
  }
  return command({
    ...{ kind: "history", limit },
    ...room !== undefined && { room },
    ...before !== undefined && { before },
  });
}

function topology(text: string): MeshTyped {
  if (text === "") return command({ kind: "topology" });
  const found = TOPOLOGIES.find((one) => one === text);
  if (found === undefined) {
    return wrong(
      `"${escapeText(text)}" is no topology; there are ${
        TOPOLOGIES.join(", ")
      }`,
    );
  }
  return command({ kind: "topology", topology: found });
}

function roomNamed(text: string): string {
  return readRoomName(text.replace(/^#/, ""));
}

function wholeNumber(text: string): number | undefined {
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

function command(command: MeshCommand): MeshTyped {
  return { kind: "command", command };
}

function wrong(text: string): MeshTyped {
  return { kind: "wrong", text };
}

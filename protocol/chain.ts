/** The words of the message chain; see `WIRE.md#chain`. */

import { Type } from "typebox";
import { Compile } from "typebox/compile";
import { isWireCode, type WireCode, WireError } from "./errors.ts";
import {
  encodeFrame,
  FRAME,
  FRAME_HEADER_BYTES,
  type FrameReader,
  readUint32,
  readUint53,
  writeFrameHeader,
  writeUint32,
  writeUint53,
} from "./frame.ts";
import type { ClientId, Incarnation, NodeId } from "./ids.ts";
import { readError } from "./handshake.ts";
import { parseJson } from "./json.ts";
import { ERROR_TEXT_CHARACTERS_MAX, ROUTE_NODES_MAX } from "./limits.ts";

/** Bytes before the text of a `data` frame, the frame's own header included. */
export const DATA_HEADER_BYTES = FRAME_HEADER_BYTES + 21;

const FLAG_BASE = 1;
const FLAG_PIPELINED = 2;

/**
 * Head of a `data` frame. The text that follows is whole lines. Messages are
 * numbered by where they stand in their client's stream of bytes: so nobody
 * between the ends has to look for them.
 */
export interface DataHead {
  readonly client: ClientId;
  /** Position of the text's first byte in the client's stream, from 0. */
  readonly offset: number;
  /** Lines in the text, 1 or more. */
  readonly messages: number;
  /**
   * The first of this client on a new link: all before `offset` was
   * acknowledged, so that a receiver may accept it after a gap.
   */
  readonly base: boolean;
  /**
   * Earlier messages were not acknowledged when this was sent: nobody waits
   * for this very acknowledgement, and it may come with later ones.
   */
  readonly pipelined: boolean;
}

/** Writes the head of a `data` frame around `textBytes` bytes that follow it. */
export function writeDataHead(
  into: Uint8Array,
  head: DataHead & { textBytes: number },
): void {
  writeFrameHeader(into, 0, {
    kind: FRAME.chainData,
    bytes: DATA_HEADER_BYTES + head.textBytes,
  });
  into[5] = (head.base ? FLAG_BASE : 0) |
    (head.pipelined ? FLAG_PIPELINED : 0);
  writeUint32(into, 6, Number(head.client >> 32n));
  writeUint32(into, 10, Number(head.client & 0xffff_ffffn));
  writeUint53(into, 14, head.offset);
  writeUint32(into, 22, head.messages);
}

/**
 * Reads the head of the whole `data` frame of `length` bytes at `at`.
 *
 * @throws {WireError} `invalid-message`: close the link.
 */
export function readDataHead(
  bytes: Uint8Array,
  at: number,
  length: number,
): DataHead {
  if (length <= DATA_HEADER_BYTES) {
    throw new WireError(
      "invalid-message",
      `Cannot read data: its length is ${length} bytes, at least ${
        DATA_HEADER_BYTES + 1
      } are needed`,
    );
  }
  return {
    base: (bytes[at + 5] & FLAG_BASE) !== 0,
    pipelined: (bytes[at + 5] & FLAG_PIPELINED) !== 0,
    client: (BigInt(readUint32(bytes, at + 6)) << 32n) |
      BigInt(readUint32(bytes, at + 10)),
    offset: readUint53(bytes, at + 14),
    messages: readUint32(bytes, at + 22),
  };
}

/**
 * An `ack` frame: the tail has delivered the first `position` bytes of `data`
 * frames, headers included, that came over this link.
 */
export function encodeAck(position: number): Uint8Array<ArrayBuffer> {
  const payload = new Uint8Array(8);
  writeUint53(payload, 0, position);
  return encodeFrame(FRAME.chainAck, payload);
}

/** @throws {WireError} `invalid-message`: close the link. */
export function readAck(payload: Uint8Array): number {
  if (payload.length !== 8) {
    throw new WireError(
      "invalid-message",
      `Cannot read ack: its length is ${payload.length} bytes, wanted 8`,
    );
  }
  return readUint53(payload, 0);
}

/** One node of a route. */
export interface RouteNode {
  readonly id: NodeId;
  readonly incarnation: Incarnation;
}

/** What a node tells those before it about the way from itself to the tail. */
export interface Route {
  /** This node first; the tail last if `complete`. */
  readonly nodes: readonly RouteNode[];
  /** Whether every link to a tail stands. */
  readonly complete: boolean;
  /** Why it is not complete, for people. */
  readonly problem?: { readonly code: WireCode; readonly text: string };
}

const ROUTE = Compile(Type.Object({
  nodes: Type.Array(
    Type.Object({
      id: Type.String({ pattern: "^[A-Za-z0-9._:-]{1,64}$" }),
      incarnation: Type.String({ pattern: "^[0-9a-f]{16}$" }),
    }),
    { minItems: 1, maxItems: ROUTE_NODES_MAX },
  ),
  complete: Type.Boolean(),
  problem: Type.Optional(Type.Object({
    code: Type.String({ maxLength: 32 }),
    text: Type.String({ maxLength: ERROR_TEXT_CHARACTERS_MAX }),
  })),
}));

/** A `route` frame. A problem is cut to what a peer takes: it may name many nodes. */
export function encodeRoute(route: Route): Uint8Array<ArrayBuffer> {
  const { nodes, complete, problem } = route;
  const text = problem?.text.slice(0, ERROR_TEXT_CHARACTERS_MAX);
  return encodeFrame(
    FRAME.chainRoute,
    new TextEncoder().encode(JSON.stringify({
      nodes,
      complete,
      ...(problem !== undefined && { problem: { code: problem.code, text } }),
    })),
  );
}

/** @throws {WireError} `invalid-message`: close the link. */
export function readRoute(payload: Uint8Array): Route {
  const value = parseJson(payload);
  if (!ROUTE.Check(value)) {
    throw new WireError("invalid-message", "Cannot read route: wrong fields");
  }
  const { nodes, complete, problem } = value;
  return {
    nodes,
    complete,
    ...(problem !== undefined && {
      problem: {
        code: isWireCode(problem.code) ? problem.code : "link-lost",
        text: problem.text,
      },
    }),
  };
}

/** What a sender does with each answer of its successor. */
export interface AnswerHandlers {
  /** The first `position` bytes of this link's `data` frames are delivered. */
  ack(position: number): void;
  /** The way from the successor to the tail has changed. */
  route(route: Route): void;
}

/**
 * Hands every whole answer in `reader` to its handler.
 *
 * @throws {WireError} Close the link; a `PeerError` is the peer's own farewell.
 */
export function readAnswers(reader: FrameReader, on: AnswerHandlers): void {
  let frame = reader.next();
  while (frame !== undefined) {
    switch (frame.kind) {
      case FRAME.beat:
        break;
      case FRAME.chainAck:
        on.ack(readAck(frame.payload));
        break;
      case FRAME.chainRoute:
        on.route(readRoute(frame.payload));
        break;
      case FRAME.error:
        throw readError(frame.payload);
      default:
        throw new WireError(
          "invalid-message",
          `Cannot take frame of kind ${frame.kind} as an answer`,
        );
    }
    frame = reader.next();
  }
}

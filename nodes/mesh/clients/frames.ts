/** Frames from a server to a WebSocket, which are not masked and so the same for all; RFC 6455, section 5. */

import { Buffer } from "node:buffer";

const TEXT = 0x81; // FIN, opcode 1
const CLOSE = 0x88; // FIN, opcode 8

/** Bytes of a close frame's reason. */
const REASON_BYTES_MAX = 123;

/** Why a WebSocket is closed; RFC 6455, section 7.4.1. */
export const CLOSE_CODES = {
  normal: 1_000,
  unsupportedData: 1_003,
  policyViolation: 1_008,
} as const;

/** A whole text message. */
export function textFrame(text: string): Uint8Array {
  return frame(TEXT, Buffer.from(text));
}

/** The last frame of a connection. */
export function closeFrame(code: number, reason: string): Uint8Array {
  const text = Buffer.from(reason);
  const said = text.length <= REASON_BYTES_MAX ? text : Buffer.alloc(0);
  const payload = Buffer.alloc(2 + said.length);
  payload.writeUInt16BE(code);
  payload.set(said, 2);
  return frame(CLOSE, payload);
}

function frame(first: number, payload: Uint8Array): Uint8Array {
  const { length } = payload;
  const headBytes = length < 126 ? 2 : length < 65_536 ? 4 : 10;
  const bytes = Buffer.alloc(headBytes + length);
  bytes[0] = first;
  if (headBytes === 2) bytes[1] = length;
  else if (headBytes === 4) {
    bytes[1] = 126;
    bytes.writeUInt16BE(length, 2);
  } else {
    bytes[1] = 127;
    bytes.writeUInt32BE(length, 6);
  }
  bytes.set(payload, headBytes);
  return bytes;
}

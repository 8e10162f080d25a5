/** A WebSocket's client, byte by byte. */

import { Buffer } from "node:buffer";

/** The key of RFC 6455, section 1.3. */
export const KEY = "dGhlIHNhbXBsZSBub25jZQ==";

/** A request for a WebSocket, as a program makes it. */
export function upgrade(headers: readonly string[] = [], path = "/ws"): string {
  return [
    `GET ${path} HTTP/1.1`,
    "Host: 127.0.0.1:5001",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${KEY}`,
    ...headers,
    "\r\n",
  ].join("\r\n");
}

/** A frame from a client: masked. */
export function frame(
  first: number,
  payload: Uint8Array,
  length = payload.length,
) {
  const mask = [1, 2, 3, 4];
  const head = length < 126
    ? [first, 0x80 | length]
    : length < 65_536
    ? [first, 0x80 | 126, length >> 8, length & 255]
    : [first, 0x80 | 127, 0, 0, 0, 0, ...u32(length)];
  return Buffer.from([
    ...head,
    ...mask,
    ...payload.map((byte, i) => byte ^ mask[i % 4]),
  ]);
}

function u32(value: number): number[] {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return [...bytes];
}

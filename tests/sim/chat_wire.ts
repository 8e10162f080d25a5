/** Messages as they are after a journey over the wire, and as people read them. */

import { FrameReader } from "../../protocol/frame.ts";
import type { ReplicaMessage } from "../../protocol/replica.ts";
import {
  decodeReplicaMessage,
  encodeReplicaMessage,
} from "../../protocol/replica_codec.ts";

/** Encodes and decodes a message; a long one may come out as several. */
export function throughWire(message: ReplicaMessage): ReplicaMessage[] {
  const reader = new FrameReader(2 ** 24);
  reader.push(encodeReplicaMessage(message));
  const messages: ReplicaMessage[] = [];
  for (;;) {
    const frame = reader.next();
    if (frame === undefined) return messages;
    messages.push(decodeReplicaMessage(frame));
  }
}

/** Heartbeats would drown all else in a transcript. */
export function isBeat({ kind }: ReplicaMessage): boolean {
  return kind === "heartbeat" || kind === "heartbeat-answer";
}

/** A message on one line of a transcript. */
export function describeMessage(message: ReplicaMessage): string {
  return JSON.stringify(message, (key, value) => {
    if (value instanceof Uint8Array) return new TextDecoder().decode(value);
    return key === "nodes" ? undefined : value;
  });
}

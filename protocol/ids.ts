/** Names and numbers of nodes and clients. */

import { NAME_CHARACTERS_MAX } from "./limits.ts";

/** A node's name: 1 to 64 characters of `A-Z a-z 0-9 . _ : -`. */
export type NodeId = string;

/** Drawn at random when a process starts: 16 hexadecimal digits. */
export type Incarnation = string;

/**
 * A sender of messages, drawn at random: 64 bits. Whoever knows it can only
 * shadow that sender's own messages, never those of another.
 */
export type ClientId = bigint;

const NAME = new RegExp(`^[A-Za-z0-9._:-]{1,${NAME_CHARACTERS_MAX}}$`);

/** Whether `text` may name a node or a cluster. */
export function isName(text: string): boolean {
  return NAME.test(text);
}

/** Bytes drawn for an incarnation. */
export const INCARNATION_BYTES = 8;

/** A client sends under its incarnation: it is 16 hexadecimal digits. */
export function clientIdOf(incarnation: Incarnation): ClientId {
  return BigInt(`0x${incarnation}`);
}

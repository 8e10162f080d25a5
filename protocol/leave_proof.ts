/** How somebody shows that he may send a server away; see `WIRE.md#leaving-for-good`. */

import { createHmac, timingSafeEqual } from "node:crypto";
import { Type } from "typebox";
import { Compile } from "typebox/compile";
import type { Incarnation, NodeId } from "./ids.ts";

/** What a proof is made for: it is good for this process and this once. */
export interface LeaveChallenge {
  readonly node: NodeId;
  readonly incarnation: Incarnation;
  /** 32 hexadecimal digits, drawn at random for this request. */
  readonly nonce: string;
}

/** Bytes of a nonce. */
export const LEAVE_NONCE_BYTES = 16;

const CHALLENGE = Compile(Type.Object({
  node: Type.String({ pattern: "^[A-Za-z0-9._:-]{1,64}$" }),
  incarnation: Type.String({ pattern: "^[0-9a-f]{16}$" }),
  nonce: Type.String({ pattern: "^[0-9a-f]{32}$" }),
}));

/**
 * HMAC-SHA-256 of the challenge under the cluster key.
 *
 * @returns 64 hexadecimal digits.
 */
export function leaveProof(key: Uint8Array, challenge: LeaveChallenge): string {
  return proofOf(key, challenge).toString("hex");
}

/** Whether `proof` was made with this key; takes as long whichever digit is wrong. */
export function isLeaveProof(
  key: Uint8Array,
  challenge: LeaveChallenge,
  proof: string,
): boolean {
  const wanted = proofOf(key, challenge);
  const found = new TextEncoder().encode(proof);
  const text = new TextEncoder().encode(wanted.toString("hex"));
  return found.length === text.length && timingSafeEqual(found, text);
}

/** The challenge in an error's fields; undefined if there is none. */
export function readLeaveChallenge(value: unknown): LeaveChallenge | undefined {
  if (!CHALLENGE.Check(value)) return undefined;
  const { node, incarnation, nonce } = value;
  return { node, incarnation, nonce };
}

function proofOf(key: Uint8Array, challenge: LeaveChallenge) {
  const { node, incarnation, nonce } = challenge;
  return createHmac("sha256", key)
    .update(`skein leave ${node} ${incarnation} ${nonce}`)
    .digest();
}

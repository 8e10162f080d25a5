import { assertEquals } from "@std/assert";
import {
  isLeaveProof,
  leaveProof,
  readLeaveChallenge,
} from "../../protocol/leave_proof.ts";

const KEY = new TextEncoder().encode("0123456789abcdef");
const CHALLENGE = {
  node: "server-2",
  incarnation: "00c0ffee00c0ffee",
  nonce: "000102030405060708090a0b0c0d0e0f",
};

Deno.test("leave proof: is the HMAC that the page says", () => {
  // printf 'skein leave server-2 00c0ffee00c0ffee 000102030405060708090a0b0c0d0e0f' |
  //   openssl dgst -sha256 -hmac 0123456789abcdef
  assertEquals(
    leaveProof(KEY, CHALLENGE),
    "31a4587696fd4f00b73ba97ba4e4b5a830129506a96a8ffcd386e7ac37feaae9",
  );
});

Deno.test("leave proof: no other challenge, key or text is proven by it", () => {
  const proof = leaveProof(KEY, CHALLENGE);
  assertEquals(isLeaveProof(KEY, CHALLENGE, proof), true);
  for (
    const other of [
      { ...CHALLENGE, node: "server-3" },
      { ...CHALLENGE, incarnation: "00c0ffee00c0ffef" },
      { ...CHALLENGE, nonce: "f".repeat(32) },
    ]
  ) assertEquals(isLeaveProof(KEY, other, proof), false);
  const other = new TextEncoder().encode("fedcba9876543210");
  assertEquals(isLeaveProof(other, CHALLENGE, proof), false);
  for (const text of ["", proof.slice(1), `${proof}0`, "é".repeat(32)]) {
    assertEquals(isLeaveProof(KEY, CHALLENGE, text), false);
  }
});

Deno.test("leave proof: a challenge is read from an error, and nothing else is", () => {
  const found = readLeaveChallenge({ type: "error", ...CHALLENGE });
  assertEquals(found, CHALLENGE);
  for (
    const wrong of [
      undefined,
      {},
      { ...CHALLENGE, nonce: "00" },
      { ...CHALLENGE, node: "a b" },
      { ...CHALLENGE, incarnation: 7 },
    ]
  ) assertEquals(readLeaveChallenge(wrong), undefined);
});

/** Bytes of commands. */

import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  type Command,
  decodeCommand,
  encodeCommand,
  type SendCommand,
  SESSIONS_IN_COMMAND_MAX,
} from "../../../../nodes/chat/state/commands.ts";
import { TEXT_BYTES_MAX } from "../../../../protocol/chat.ts";
import { WireError } from "../../../../protocol/errors.ts";
import { hex } from "./state_fixture.ts";

const session = hex(7, 16);

const SEND: SendCommand = {
  kind: "send",
  session,
  sequence: 9,
  to: "bob",
  text: "x\ny\u0001",
  time: 1,
};

const VALID: readonly Command[] = [
  {
    kind: "register",
    user: "zoë",
    phc: "$scrypt$ln=15,r=8,p=1$c2FsdHNhbHQ$aGFzaA",
    token: hex(1, 32),
    seen: 0,
    time: 0,
  },
  {
    kind: "open-session",
    session,
    secretHash: hex(2, 64),
    user: "a",
    userId: 12,
    seen: 11,
    time: 5,
  },
  { kind: "close-session", session, sequence: 1, time: 1 },
  SEND,
  { kind: "mark-read", session, sequence: 2, upTo: 2 ** 53 - 1, time: 1 },
  { kind: "delete-account", session, sequence: 3, time: 1 },
  { kind: "expire-sessions", sessions: [{ id: session, used: 4 }], time: 1 },
  { kind: "touch-sessions", ids: [session], time: 1 },
];

function bytesOf(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

Deno.test("commands: each kind comes back as it was", () => {
  for (const command of VALID) {
    assertEquals(decodeCommand(encodeCommand(command)), command);
  }
});

Deno.test("commands: a command within a larger buffer is read alone", () => {
  const bytes = encodeCommand(SEND);
  const buffer = new Uint8Array(bytes.length + 20).fill(0x7b);
  buffer.set(bytes, 10);
  const view = buffer.subarray(10, 10 + bytes.length);
  assertEquals(decodeCommand(view), SEND);
});

Deno.test("commands: every prefix, and bytes behind, are no command", () => {
  for (const command of VALID) {
    const bytes = encodeCommand(command);
    for (let length = 0; length < bytes.length; length += 1) {
      assertEquals(decodeCommand(bytes.subarray(0, length)), undefined);
    }
    assertEquals(decodeCommand(Uint8Array.of(...bytes, 0x7d)), undefined);
  }
});

Deno.test("commands: a missing or wrong field makes it no command", () => {
  for (const command of VALID) {
    for (const key of Object.keys(command)) {
      for (const wrong of [undefined, null, [], {}, true, -1, 1.5, 2 ** 53]) {
        const changed = { ...command, [key]: wrong };
        assertEquals(
          decodeCommand(bytesOf(changed)),
          undefined,
          JSON.stringify(changed),
        );
      }
    }
  }
});

Deno.test("commands: what no text or name can be is no command", () => {
  const wrong: readonly Partial<Record<string, unknown>>[] = [
    { text: "" },
    { text: "a\0b" },
    { text: "\ud800" },
    { text: "x".repeat(TEXT_BYTES_MAX + 1) },
    { text: "\u20ac".repeat(Math.floor(TEXT_BYTES_MAX / 3) + 1) },
    { to: "" },
    { to: "a b" },
    { to: "a\u0007" },
    { to: "\udc00" },
    { to: "x".repeat(129) },
    { kind: "shout" },
    { kind: 5 },
    { sequence: 0 },
    { sequence: "1" },
  ];
  for (const fields of wrong) {
    const changed = { ...SEND, ...fields };
    assertEquals(
      decodeCommand(bytesOf(changed)),
      undefined,
      JSON.stringify(fields),
    );
  }
});

Deno.test("commands: the longest text fits, even with every character escaped", () => {
  for (const text of ["x".repeat(TEXT_BYTES_MAX), '"'.repeat(65_000)]) {
    const command = { ...SEND, text };
    assertEquals(decodeCommand(encodeCommand(command)), command);
  }
});

Deno.test("commands: what does not fit one command is refused by name", () => {
  const error = assertThrows(
    () => encodeCommand({ ...SEND, text: '"'.repeat(65_536) }),
    WireError,
  );
  assertEquals(error.code, "too-large");
});

Deno.test("commands: a list of sessions has an end", () => {
  const ids = Array.from({ length: SESSIONS_IN_COMMAND_MAX }, () => session);
  const touch: Command = { kind: "touch-sessions", ids, time: 1 };
  assertEquals(decodeCommand(bytesOf(touch)), touch);
  ids.push(session);
  assertEquals(decodeCommand(bytesOf(touch)), undefined);
});

Deno.test("commands: bytes that are not UTF-8 are no command, U+FFFD is a character", () => {
  const bytes = encodeCommand(SEND);
  const place = bytes.indexOf("x".charCodeAt(0));
  const broken = Uint8Array.from(bytes);
  broken[place] = 0xff;
  assertEquals(decodeCommand(broken), undefined);
  const whole = { ...SEND, text: "a\ufffdb" };
  assertEquals(decodeCommand(bytesOf(whole)), whole);
});

Deno.test("commands: deep nesting and large numbers are no command and no crash", () => {
  const texts = [
    "[".repeat(131_000),
    `{"kind":${"[".repeat(50_000)}${"]".repeat(50_000)}}`,
    `{"kind":"send","sequence":1e999}`,
    `{"kind":"__proto__"}`,
    `{"__proto__":{"kind":"send"}}`,
    "\ufeff{}",
    "null",
    "7",
  ];
  for (const text of texts) {
    assertEquals(decodeCommand(new TextEncoder().encode(text)), undefined);
  }
});

Deno.test("commands: no bytes make decoding throw", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      decodeCommand(bytes);
    }),
  );
  fc.assert(
    fc.property(fc.json(), (text) => {
      decodeCommand(new TextEncoder().encode(text));
    }),
  );
});

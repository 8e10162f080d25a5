import { assertEquals } from "@std/assert";
import { readTyped, showMessage } from "../../clients/chat_typed.ts";

Deno.test("chat typed: a line is a message or a command", () => {
  const table: readonly (readonly [string, unknown])[] = [
    ["", { kind: "nothing" }],
    ["  \r", { kind: "nothing" }],
    ["@bob hello there", { kind: "send", to: "bob", text: "hello there" }],
    ["@bob: hello", { kind: "send", to: "bob", text: "hello" }],
    ["@bob.x, hello", { kind: "send", to: "bob.x", text: "hello" }],
    ["@bob", { kind: "partner", to: "bob" }],
    ["/to bob", { kind: "partner", to: "bob" }],
    ["/to @bob", { kind: "partner", to: "bob" }],
    ["/send bob hello you", { kind: "send", to: "bob", text: "hello you" }],
    ["hello", { kind: "send", to: "eve", text: "hello" }],
    [" hello ", { kind: "send", to: "eve", text: " hello " }],
    ["//etc", { kind: "send", to: "eve", text: "/etc" }],
    ["/list", { kind: "list", limit: 20, unread: false }],
    ["/list 5", { kind: "list", limit: 5, unread: false }],
    ["/unread", { kind: "list", limit: 200, unread: true }],
    ["/read", { kind: "mark-read", upto: undefined }],
    ["/read 7", { kind: "mark-read", upto: 7 }],
    ["/delete", { kind: "delete-account" }],
    ["/logout", { kind: "logout" }],
    ["/who", { kind: "who" }],
    ["/who?", { kind: "who" }],
    ["/help", { kind: "help" }],
    ["/quit", { kind: "quit" }],
  ];
  for (const [line, typed] of table) {
    assertEquals(readTyped(line, "eve"), typed, line);
  }
});

Deno.test("chat typed: what is wrong is said", () => {
  for (
    const line of [
      ...["/fly", "/to", "/list x", "/list 0", "/list 201", "/read x", "/"],
      ...["@b/b hello", "@bob \u001b[2J", "@bob \u0000", "/to a b\u0007"],
    ]
  ) assertEquals(readTyped(line, "eve").kind, "wrong", line);
  assertEquals(readTyped("hello", undefined).kind, "wrong");
});

Deno.test("chat typed: a message can neither forge a line nor move the cursor", () => {
  const shown = showMessage({
    n: 7,
    from: "bob",
    to: "ann",
    text: "one\r\n[8 12:00] eve: two\u001b[2J\rthree\u202e\n",
    time: 0,
  }, () => "12:00");
  assertEquals(
    shown,
    "[7 12:00] bob: one\n" +
      "               [8 12:00] eve: two\\x1b[2J\\rthree\\u202e",
  );
});

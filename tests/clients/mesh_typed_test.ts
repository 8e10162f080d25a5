import { assertEquals } from "@std/assert";
import { type MeshTyped, readMeshTyped } from "../../clients/mesh_typed.ts";

const read = (line: string, room?: string): MeshTyped =>
  readMeshTyped(line, { line: 7, room });

Deno.test("mesh typed: a line is a message or a command", () => {
  const all = { kind: "say", line: 7, isLocal: false };
  const dm = { kind: "dm", to: "bob", text: "hello you", line: 7 };
  const table: readonly (readonly [string, object])[] = [
    ["hello", { ...all, text: "hello" }],
    [" hello ", { ...all, text: " hello " }],
    ["//etc", { ...all, text: "/etc" }],
    ["a\tb\r", { ...all, text: "a\tb" }],
    ["@bob hello you", dm],
    ["@bob: hello you", dm],
    ["/dm bob hello you", dm],
    ["/dm @bob  hello you", dm],
    ["/local hi", { ...all, text: "hi", isLocal: true }],
    ["/join lab", { kind: "join", room: "lab" }],
    ["/join #lab", { kind: "join", room: "lab" }],
    ["/leave lab", { kind: "leave", room: "lab" }],
    ["/rooms", { kind: "rooms" }],
    ["/who", { kind: "who" }],
    ["/who #lab", { kind: "who", room: "lab" }],
    ["/history", { kind: "history", limit: 50 }],
    ["/history 5", { kind: "history", limit: 5 }],
    ["/history 5 90", { kind: "history", limit: 5, before: 90 }],
    ["/history lab", { kind: "history", limit: 50, room: "lab" }],
    ["/history #5 6 7", { kind: "history", limit: 6, before: 7, room: "5" }],
    ["/topology", { kind: "topology" }],
    ["/topology ring", { kind: "topology", topology: "ring" }],
    ["/trace", { kind: "trace" }],
    ["/servers", { kind: "servers" }],
  ];
  for (const [line, command] of table) {
    assertEquals(read(line), { kind: "command", command } as MeshTyped, line);
  }
  assertEquals(read("  \r"), { kind: "nothing" });
  assertEquals(read("/room #lab"), { kind: "room", room: "lab" });
  assertEquals(read("/all"), { kind: "room", room: undefined });
  assertEquals(read("/quit"), { kind: "quit" });
});

Deno.test("mesh typed: in a room lines go there, and that one is left", () => {
  assertEquals(read("hello", "lab"), {
    kind: "command",
    command: {
      kind: "say",
      text: "hello",
      line: 7,
      isLocal: false,
      room: "lab",
    },
  });
  assertEquals(read("/leave", "lab"), {
    kind: "command",
    command: { kind: "leave", room: "lab" },
  });
});

Deno.test("mesh typed: what is wrong is said, and nothing of it is sent", () => {
  const wrong = [
    ...["@bob", "@a/b hi", "/dm bob", "/join", "/join a b", "/leave", "/room"],
    ...["/local", "/history 0", "/history 201", "/history 1 2 3", "/fly"],
    ...["/history lab x", "/topology cube", "/who a/b", "a\x07b", "a\rb"],
    "é".repeat(9_000),
  ];
  for (const line of wrong) {
    assertEquals(read(line).kind, "wrong", line.slice(0, 20));
  }
});

import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { readAnswer } from "../../protocol/chat_answers.ts";
import {
  type ChatView,
  formatView,
  readChatView,
  serverAddress,
} from "../../protocol/chat_view.ts";

const VIEW: ChatView = {
  node: "server-1",
  group: "00c0ffee00c0ffee",
  epoch: { counter: 7, store: "00c0ffee00c0ffee" },
  leader: "server-3",
  reason: "server-2 lost (connection reset)",
  servers: [{ id: "server-1" }, { id: "server-3", address: "10.0.0.3:8091" }],
};

Deno.test("chat view: what is pushed is read, with and without a view", () => {
  const { node, servers } = VIEW;
  for (const view of [VIEW, { node, servers }]) {
    assertEquals(readAnswer(formatView(view)), { type: "view", ...view });
  }
});

Deno.test("chat view: fields of a later version are left out", () => {
  assertEquals(readChatView({ ...VIEW, later: 1 }), VIEW);
});

Deno.test("chat view: what is none is none", () => {
  for (
    const wrong of [
      undefined,
      "view",
      {},
      { ...VIEW, node: "" },
      { ...VIEW, leader: "a\u001b[2J" },
      { ...VIEW, epoch: { counter: -1, store: "00c0ffee00c0ffee" } },
      { ...VIEW, epoch: 7 },
      { ...VIEW, reason: "x".repeat(1_025) },
      { ...VIEW, servers: [{ address: "a:1" }] },
      { ...VIEW, servers: Array.from({ length: 65 }, () => ({ id: "a" })) },
    ]
  ) assertEquals(readChatView(wrong), undefined, JSON.stringify(wrong));
});

Deno.test("chat view: whatever comes is read or is not, and throws nothing", () => {
  fc.assert(fc.property(fc.anything(), (value) => {
    const view = readChatView(value);
    for (const server of view?.servers ?? []) serverAddress(server);
  }));
});

Deno.test("chat view: an address that nobody can dial is none", () => {
  for (const address of [undefined, "", "a", "a:0", "a:99999", ":8091"]) {
    const server = { id: "a", ...address !== undefined && { address } };
    assertEquals(serverAddress(server), undefined, address);
  }
  const server = { id: "a", address: "[fe80::1]:8091" };
  assertEquals(serverAddress(server), { host: "fe80::1", port: 8091 });
});

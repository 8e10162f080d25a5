/** Groups that nobody configured: births, joins, departures, and groups that must not mix. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import type { ReplicaOptions } from "../../../../nodes/chat/replica/contract.ts";
import { CoreGroups, type CoreNode, storeOf } from "./core_groups.ts";

function namesOf(node: CoreNode, set: "members" | "voters"): string {
  const { view } = node;
  return (view?.[set] ?? []).map((store) => view?.nodes[store].id).join("");
}

/** A group of these, in which all are in sync and vote. */
function groupOf(
  ids: string,
  options: Partial<ReplicaOptions> = {},
): { groups: CoreGroups; nodes: CoreNode[] } {
  const groups = new CoreGroups();
  const nodes = [...ids].map((id) => groups.start(id, options));
  groups.tell(nodes[0], { kind: "found" });
  groups.link(...nodes);
  groups.until("all vote", () => nodes.every((node) => isWhole(node, ids)));
  return { groups, nodes };
}

function isWhole(node: CoreNode, ids: string): boolean {
  return namesOf(node, "members") === ids && namesOf(node, "voters") === ids &&
    node.view?.previousVoters === undefined;
}

Deno.test("core groups: one alone founds, others join, vote, and the highest leads", () => {
  const groups = new CoreGroups();
  const [b, a, c] = ["b", "a", "c"].map((id) => groups.start(id));
  groups.pass(3_000);
  assertEquals(b.view, undefined, "nobody begins a group unasked");
  groups.tell(b, { kind: "found" });
  assertEquals([b.view?.group, namesOf(b, "voters")], [storeOf("b"), "b"]);
  const [before] = b.notes;
  assertEquals(
    before,
    "Epoch 1: b leads b; b heard of no group and founded one",
  );
  groups.tell(b, { kind: "found" });
  assertEquals(b.view?.epoch.counter, 1, "once is enough");
  groups.link(a, b);
  groups.until("a votes", () => isWhole(a, "ab"));
  groups.link(a, b, c);
  groups.until("all vote", () => [a, b, c].every((one) => isWhole(one, "abc")));
  groups.until("c leads", () => a.view?.primary === c.peer.store);
  assert(b.notes.includes("b steps down, c takes over"), b.notes.join("\n"));
  const joined = c.notes.find((note) => note.endsWith("c joined")) ?? "";
  assertMatch(joined, /^Epoch \d+: c leads a, b, c; c joined$/);
  assertEquals(a.view?.group, storeOf("b"), "the group keeps its name");
});

Deno.test("core groups: a loss is told with its reason", () => {
  const { groups, nodes: [a, , c] } = groupOf("abc");
  groups.until("c leads", () => a.view?.primary === c.peer.store);
  groups.kill(c);
  groups.until("b leads", () => a.view?.primary === storeOf("b"));
  assertMatch(
    a.notes.at(-1) ?? "",
    /^Epoch \d+: b leads a, b; c lost \(connection reset\)$/,
  );
});

Deno.test("core groups: who leaves for good gives its vote back, one after the other", () => {
  const { groups, nodes: [a, b, c, d, e] } = groupOf("abcde");
  groups.until("e leads", () => a.view?.primary === e.peer.store);
  for (const node of [b, e]) {
    groups.tell(node, { kind: "leave", isForGood: true });
  }
  let fewest = 5;
  groups.until("both have left", () => {
    const voters = a.view?.voters.length ?? 5;
    assert(fewest - voters <= 1, "one vote at a time");
    fewest = Math.min(fewest, voters);
    return b.hasLeft && e.hasLeft;
  });
  for (const node of [b, e]) groups.kill(node);
  assertEquals([a, c, d].map((node) => namesOf(node, "voters")), [
    ...["acd", "acd", "acd"],
  ]);
  assertEquals(a.view?.previousVoters, undefined);
  // Three that vote survive the loss of one.
  groups.kill(d);
  groups.until("they go on", () => namesOf(a, "members") === "ac");
});

Deno.test("core groups: who has left and is told to leave again says so again", () => {
  const { groups, nodes: [a, b] } = groupOf("abc");
  groups.until("c leads", () => a.view?.primary === storeOf("c"));
  groups.tell(b, { kind: "leave", isForGood: true });
  groups.until("it has left", () => b.hasLeft);
  for (const isForGood of [false, true]) {
    b.hasLeft = false;
    groups.tell(b, { kind: "leave", isForGood });
    groups.until("it is out still", () => b.hasLeft, 100);
  }
});

Deno.test("core groups: who only stops keeps its vote", () => {
  const { groups, nodes: [a, b] } = groupOf("abc");
  groups.tell(b, { kind: "leave", isForGood: false });
  groups.until("it has left", () => b.hasLeft);
  groups.kill(b);
  groups.pass(60_000);
  assertEquals(namesOf(a, "members"), "ac");
  assertEquals(namesOf(a, "voters"), "abc");
});

Deno.test("core groups: the dead are forgotten in time, one after the other, and may come back", () => {
  const options = { forgetAfterMs: 10_000 };
  const { groups, nodes: [a, b, c, d, e] } = groupOf("abcde", options);
  groups.until("e leads", () => a.view?.primary === e.peer.store);
  groups.kill(d);
  groups.kill(e);
  groups.until("two are lost", () => namesOf(a, "members") === "abc");
  groups.pass(9_000);
  assertEquals(namesOf(a, "voters"), "abcde", "not before its time");
  groups.until("they are forgotten", () => isWhole(a, "abc"));
  assert(
    a.notes.some((note) => /d is forgotten \(dead for 1\d s\)/.test(note)),
    a.notes.join("\n"),
  );
  groups.kill(c);
  groups.until("they go on", () => namesOf(a, "members") === "ab");
  const again = groups.start("d");
  groups.link(a, b, again);
  groups.until("it votes again", () => namesOf(a, "voters").includes("d"));
});

Deno.test("core groups: two groups with a link between them stay two", () => {
  const groups = new CoreGroups();
  const [a, b] = ["a", "b"].map((id) => groups.start(id));
  for (const node of [a, b]) groups.tell(node, { kind: "found" });
  groups.linkUnknowing(a, b);
  for (const node of [a, b]) {
    const command = new TextEncoder().encode(node.peer.id);
    groups.tell(node, { kind: "propose", commands: [command] });
  }
  groups.pass(2_000);
  for (const node of [a, b]) {
    assertEquals(node.view?.group, node.peer.store);
    assertEquals(namesOf(node, "members"), node.peer.id);
    assertEquals(node.committed.filter((text) => text !== ""), [node.peer.id]);
  }
});

Deno.test("core groups: who follows a primary that cannot commit takes no writes, until it can again", () => {
  const { groups, nodes: [b, c, d] } = groupOf("bcd");
  groups.until("d leads", () => b.view?.primary === d.peer.store);
  const a = groups.start("a");
  groups.link(a, d);
  groups.until("a follows d", () => a.core.group.isWritable);
  for (const node of [b, c]) groups.cut(node, "connection reset");
  groups.until("a takes no writes", () => !a.core.group.isWritable, 200);
  assertEquals([d.core.group.isWritable, d.core.group.role], [
    false,
    "primary",
  ]);
  assertEquals(a.view?.primary, d.peer.store, "it hears d all the same");
  groups.pass(1_000);
  assertEquals(a.core.group.isWritable, false);
  groups.link(b, c, d);
  groups.until("a takes writes", () => a.core.group.isWritable);
});

import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { WireError } from "../../protocol/errors.ts";
import { readView } from "../../protocol/view_codec.ts";
import { anyView } from "./replica_messages.ts";

const A = "00000000000000aa";
const B = "00000000000000bb";
const NODE = { id: "server-1", kind: "server", priority: 0 };
const GOOD = {
  epoch: { counter: 3, store: A },
  group: A,
  voters: [A, B],
  members: [A],
  primary: A,
  nodes: { [A]: NODE, [B]: { ...NODE, id: "witness-1", kind: "witness" } },
  reason: "the group was founded",
};

Deno.test("view: every view is read as it was written", () => {
  fc.assert(fc.property(anyView, (view) => {
    assertEquals(readView(JSON.parse(JSON.stringify(view))), view);
  }));
});

Deno.test("view: fields and nodes that it does not need are left out", () => {
  const more = {
    ...GOOD,
    color: "red",
    nodes: { ...GOOD.nodes, x: NODE, [A]: { ...NODE, port: 1 } },
  };
  assertEquals<unknown>(readView(more), GOOD);
});

Deno.test("view: what makes no sense is refused and says why", () => {
  const wrong: [object, string][] = [
    [{ epoch: 1 }, "wrong fields"],
    [{ voters: [] }, "wrong fields"],
    [{ members: [] }, "wrong fields"],
    [{ voters: Array(33).fill(A) }, "wrong fields"],
    [{ reason: "x".repeat(201) }, "wrong fields"],
    [{ nodes: { [A]: { ...NODE, id: "a b" }, [B]: NODE } }, "wrong fields"],
    [{ voters: [B, A] }, "its voters are not sorted"],
    [{ previousVoters: [A, A] }, "its previousVoters are not sorted"],
    [{ nodes: { [A]: NODE } }, `it does not say who "${B}" is`],
    [{ primary: B }, "its primary is no member"],
  ];
  for (const [change, text] of wrong) {
    assertThrows(() => readView({ ...GOOD, ...change }), WireError, text);
  }
  for (const value of [null, [], "view", 1, undefined]) {
    assertThrows(() => readView(value), WireError, "wrong fields");
  }
});

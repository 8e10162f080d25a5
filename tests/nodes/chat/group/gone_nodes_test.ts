import { assertEquals } from "@std/assert";
import { GoneNodes } from "../../../../nodes/chat/group/gone_nodes.ts";

Deno.test("gone nodes: who is in the view no more is gone, once, and may come back", () => {
  const gone = new GoneNodes();
  const links = [{ id: "b", store: "0b" }, { id: "c", store: "0c" }];
  assertEquals(gone.since(new Set(["a", "b", "c"]), links), []);
  assertEquals(gone.since(new Set(["a", "b", "c"]), links), []);
  assertEquals(gone.since(new Set(["a", "b"]), links), ["c"]);
  assertEquals(gone.since(new Set(["a", "b"]), links), []);
  assertEquals(gone.since(new Set(["a", "b", "c"]), links), []);
  assertEquals(gone.since(new Set(["a"]), []), [], "not linked by any name");
});

Deno.test("gone nodes: a node whose data was lost is not gone", () => {
  const gone = new GoneNodes();
  const store = (id: string) => [{ id: "c", store: id }];
  gone.since(new Set(["a", "c"]), []);
  gone.since(new Set(["a", "c"]), store("0c"));
  gone.since(new Set(["a", "c"]), store("1c"));
  assertEquals(gone.since(new Set(["a"]), store("1c")), []);
});

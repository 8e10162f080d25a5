/** Links to nodes that are found while a node runs. */

import { assertEquals, assertRejects } from "@std/assert";
import type { PeerLinksOptions } from "../../../../nodes/chat/links/peers.ts";
import type { StoreId } from "../../../../protocol/epoch.ts";
import { WireError } from "../../../../protocol/errors.ts";
import { NODES_MAX } from "../../../../protocol/view.ts";
import { until, WAIT_MS } from "../../../process/until.ts";
import { freeAddress, helloOf, PeerNode, storeOf, WAITS } from "./peer_node.ts";

const A = storeOf("a");
const B = storeOf("b");
const G = storeOf("1");
const H = storeOf("2");

/** A node that knows nobody, and what group it says it belongs to. */
function loner(
  id: string,
  store: StoreId,
  changes: Partial<PeerLinksOptions> = {},
) {
  const said: { group: StoreId | undefined } = { group: undefined };
  const hello = () => ({ ...helloOf(store), group: said.group });
  return { node: new PeerNode({ id, store }, { ...changes, hello }), said };
}

Deno.test("peers: a node is met while another runs, and where it has moved to", async () => {
  await using a = new PeerNode({ id: "a", store: A });
  await using b = new PeerNode({ id: "b", store: B });
  a.links.meet({ ...b.asPeer, address: freeAddress() });
  await until(
    "nobody is there",
    () => a.log.with('Cannot reach "b"').length > 0,
  );
  a.links.meet(b.asPeer);
  await a.untilFate(B, ["up"]);
  // Told again, nothing changes.
  a.links.meet(b.asPeer);
  a.links.meet(a.asPeer);
  assertEquals(a.links.states.map(({ id, isLinked }) => [id, isLinked]), [[
    "b",
    true,
  ]]);
  assertEquals(a.links.addressOf(B), b.links.address);
});

Deno.test("peers: who looks for a group dials at once, also a node of lower id", async () => {
  // So long that only a dial at once can make the link.
  const waits = { ...WAITS, dialAnywayMs: 2 * WAIT_MS };
  const one = loner("a", A, { waits });
  await using a = one.node;
  await using b = loner("b", B, { waits }).node;
  one.said.group = G;
  b.links.meet(a.asPeer);
  await a.untilFate(B, ["up"]);
});

Deno.test("peers: nothing is fetched from a process that has begun anew in another group", async () => {
  const one = loner("a", A);
  one.said.group = G;
  await using a = one.node;
  const listen = freeAddress();
  const signal = AbortSignal.timeout(WAIT_MS);
  await using b = new PeerNode({ id: "b", store: B, listen });
  a.links.meet(b.asPeer);
  await a.untilFate(B, ["up"]);
  await (await a.links.connect(B, signal)).close();
  await b.links.close();
  await a.untilFate(B, ["up", "down"]);
  const hello = () => ({ ...helloOf(storeOf("c")), group: H });
  await using _ = new PeerNode({ id: "b", store: storeOf("c"), listen }, {
    hello,
  });
  assertEquals(a.links.addressOf(B), listen, "as far as it knows");
  await assertRejects(() => a.links.connect(B, signal), WireError, "is there");
});

Deno.test("peers: a node that is forgotten is dialled no more", async () => {
  await using a = new PeerNode({ id: "a", store: A });
  a.links.meet({ id: "b", kind: "server", address: freeAddress() });
  await until(
    "it is dialled",
    () => a.log.with('Cannot reach "b"').length > 0,
  );
  a.links.forget("b");
  assertEquals(a.links.states, []);
});

Deno.test("peers: more nodes than a group may have are not met", async () => {
  await using a = new PeerNode({ id: "a", store: A });
  for (let number = 1; number <= NODES_MAX + 2; number += 1) {
    a.links.meet({
      id: `b${number}`,
      kind: "server",
      address: freeAddress(),
    });
  }
  assertEquals(a.links.states.length, NODES_MAX - 1);
});

Deno.test("peers: whoever gets a group is linked anew to those that had none", async () => {
  const { node: a, said } = loner("a", A);
  const { node: b } = loner("b", B);
  await using _a = a;
  await using _b = b;
  a.links.meet(b.asPeer);
  await b.untilFate(A, ["up"]);
  said.group = G;
  a.links.regroup(G);
  await b.untilFate(A, ["up", "down", "up"]);
  const groups = b.inputs.flatMap((input) =>
    input.kind === "peer-up" ? [input.peer.group] : []
  );
  assertEquals(groups, [undefined, G]);
});

Deno.test("peers: nodes of two groups part, and say why", async () => {
  const one = loner("a", A);
  const other = loner("b", B);
  await using a = one.node;
  await using b = other.node;
  a.links.meet(b.asPeer);
  await b.untilFate(A, ["up"]);
  one.said.group = G;
  other.said.group = H;
  a.links.regroup(G);
  b.links.regroup(H);
  await until(
    "it says why there is no link",
    () => /belongs to group/.test(a.links.states[0].problem ?? ""),
    { context: () => JSON.stringify([a.links.states, a.log.lines]) },
  );
  assertEquals(a.links.states[0].isLinked, false);
});

Deno.test("peers: who lets people in everywhere is told to them where it is linked", async () => {
  for (
    const [clientAddress, wanted] of [
      ["0.0.0.0:8091", "127.0.0.1:8091"],
      ["[::]:8091", "127.0.0.1:8091"],
      ["10.0.0.5:8091", "10.0.0.5:8091"],
    ]
  ) {
    await using a = new PeerNode({ id: "a", store: A });
    const hello = () => ({ ...helloOf(B), clientAddress });
    await using b = new PeerNode({ id: "b", store: B }, { hello });
    a.links.meet(b.asPeer);
    await a.untilFate(B, ["up"]);
    assertEquals(a.links.clientAddressOf(B), wanted);
  }
});

Deno.test("peers: an attempt that was made before this node got a group is no trouble to tell", async () => {
  let asked = 0;
  // It gets its group once it has said to b that it has none.
  const hello = () => {
    asked += 1;
    return { ...helloOf(A), group: asked > 2 ? G : undefined };
  };
  await using a = new PeerNode({ id: "a", store: A }, { hello });
  await using b = new PeerNode({ id: "b", store: B });
  a.links.meet(b.asPeer);
  await a.untilFate(B, ["up"]);
  assertEquals(b.fate(A)[0], "up", "the first attempt came to its end");
  assertEquals(a.log.with("Cannot reach"), []);
});

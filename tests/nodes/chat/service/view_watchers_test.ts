import { assert, assertEquals } from "@std/assert";
import { chatView } from "../../../../nodes/chat/service/view_watchers.ts";
import type { NodeStatus } from "../../../../protocol/status.ts";
import { canned } from "../canned_status.ts";
import {
  type MemoryClient,
  MemoryWorld,
  unwritable,
  writable,
} from "./service_fixture.ts";

const TICK_MS = 100;

/** A status in which this server leads under this epoch. */
function view(counter: number, reason = ""): Partial<NodeStatus> {
  const known = canned().view;
  assert(known !== undefined);
  const epoch = { counter, store: "3333333333333333" };
  return { view: { ...known, epoch, reason } };
}

function change(world: MemoryWorld, shown: Partial<NodeStatus>): void {
  world.node.shown = { ...world.node.shown, ...shown };
  world.node.change(writable("primary"));
}

/** Epochs of the pushes that came. */
function epochs(client: MemoryClient): unknown[] {
  return client.answers.filter(({ type }) => type === "view")
    .map(({ epoch }) => Object(epoch).counter);
}

Deno.test("watch: answers the view that holds, to strangers as well", async () => {
  const world = new MemoryWorld();
  world.node.shown = { group: "1111111111111111", ...view(7, "c joined") };
  const { id: _, type, ...fields } = await world.connect()
    .ask({ type: "watch" });
  assertEquals(type, "ok");
  assertEquals(fields, {
    node: "memory",
    group: "1111111111111111",
    epoch: { counter: 7, store: "3333333333333333" },
    leader: "server-3",
    reason: "c joined",
    servers: [{ id: "memory" }, { id: "server-1" }, { id: "server-2" }],
  });
});

Deno.test("watch: each change is told once, and to nobody who did not ask", async () => {
  const world = new MemoryWorld();
  const [ann, bob] = [world.connect(), world.connect()];
  await ann.ask({ type: "watch" });
  await world.pass(10 * TICK_MS);
  assertEquals(epochs(ann), []);
  change(world, view(8, "server-2 lost (connection reset)"));
  await world.pass(TICK_MS);
  await world.pass(20 * TICK_MS);
  assertEquals(epochs(ann), [8]);
  assertEquals(bob.received, []);
});

Deno.test("watch: while nobody leads nothing is told", async () => {
  const world = new MemoryWorld();
  const ann = world.connect();
  await ann.ask({ type: "watch" });
  world.node.shown = { view: undefined };
  world.node.change(unwritable("a majority"));
  await world.pass(TICK_MS);
  assertEquals(epochs(ann), []);
  const asked = await ann.ask({ type: "watch" });
  assertEquals([asked.epoch, asked.leader], [undefined, undefined]);
  change(world, view(9));
  await world.pass(TICK_MS);
  assertEquals(epochs(ann), [9]);
});

Deno.test("watch: an address that comes to be known later is told", async () => {
  const world = new MemoryWorld();
  const ann = world.connect();
  await ann.ask({ type: "watch" });
  const [first, ...others] = canned().peers;
  const peers = [{ ...first, clientAddress: "10.0.0.1:8091" }, ...others];
  world.node.shown = { peers };
  await world.pass(1_000);
  const { servers } = ann.answers[1];
  assert(Array.isArray(servers));
  assertEquals(servers[1], { id: "server-1", address: "10.0.0.1:8091" });
});

Deno.test("watch: who reads slowly is told of the newest view alone", async () => {
  const world = new MemoryWorld();
  const ann = world.connect();
  await ann.ask({ type: "watch" });
  ann.isStuck = true;
  ann.send({ type: "help", id: "x".repeat(60) });
  for (let i = 0; i < 100; i++) ann.send({ type: "help" });
  await world.settle();
  assert(ann.queuedBytes > 65_536, `${ann.queuedBytes} bytes wait`);
  for (let counter = 8; counter < 1_008; counter++) {
    change(world, view(counter));
    await world.pass(TICK_MS);
  }
  ann.unstick();
  await world.pass(TICK_MS);
  assertEquals(epochs(ann), [1_007]);
});

Deno.test("watch: a connection that is over is forgotten", async () => {
  const world = new MemoryWorld();
  const ann = world.connect();
  await ann.ask({ type: "watch" });
  ann.drop();
  change(world, view(8));
  await world.pass(TICK_MS);
  assertEquals(epochs(ann), []);
});

Deno.test("watch: witnesses are nobody's servers", () => {
  const ids = chatView(canned()).servers.map(({ id }) => id);
  assertEquals(ids, ["server-1", "server-2", "server-3"]);
});

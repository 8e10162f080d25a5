import {
  assert,
  assertEquals,
  assertLess,
  assertLessOrEqual,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { FrameLink } from "../../../../nodes/host/frame_link.ts";
import { PeerLinks } from "../../../../nodes/chat/links/peers.ts";
import { closeConn, dial } from "../../../../nodes/host/link.ts";
import { WireError } from "../../../../protocol/errors.ts";
import { encodeFrame, FRAME } from "../../../../protocol/frame.ts";
import {
  Handshake,
  type Identity,
  PeerError,
} from "../../../../protocol/handshake.ts";
import type {
  ReplicaHello,
  ReplicaMessage,
} from "../../../../protocol/replica.ts";
import {
  decodeReplicaMessage,
  encodeReplicaMessage,
} from "../../../../protocol/replica_codec.ts";
import {
  encodeReplicaHello,
  readReplicaHello,
} from "../../../../protocol/replica_talk.ts";
import { NODES_MAX } from "../../../../protocol/view.ts";
import { until } from "../../../process/until.ts";
import { bytesOf, joined } from "../../../protocol/splits.ts";
import { LISTEN, roundTrips } from "../../host/loopback.ts";
import {
  advertOf,
  freeAddress,
  helloOf,
  identityOf,
  PeerNode,
  storeOf,
  WAITS,
} from "./peer_node.ts";

const A = storeOf("a");
const B = storeOf("b");
const C = storeOf("c");

const EPOCH = { counter: 1, store: A };

/** A message that is told from others by its number. */
function numbered(round: number): ReplicaMessage {
  return {
    kind: "heartbeat",
    epoch: EPOCH,
    round,
    commit: 0,
    isWritable: true,
  };
}

/** Two nodes that know each other. */
function pair(changes: { silentMsMax?: number } = {}): {
  a: PeerNode;
  b: PeerNode;
} {
  const listen = freeAddress();
  const b = new PeerNode({
    id: "server-2",
    store: B,
    peers: [{ id: "server-1", kind: "server", address: listen }],
  }, changes);
  const a = new PeerNode(
    { id: "server-1", store: A, listen, peers: [b.asPeer] },
    changes,
  );
  return { a, b };
}

/** A process that dials a node as another node would. */
async function dialAs(
  node: PeerNode,
  as: { self: Identity; hello: ReplicaHello; waitsForHello?: boolean },
): Promise<FrameLink> {
  const greeting = { self: as.self, accepts: ["chat" as const] };
  const link = new FrameLink(
    await dial(node.links.address, greeting, { silentMsMax: 60_000 }),
  );
  link.send(encodeReplicaHello(as.hello));
  if (as.waitsForHello ?? true) {
    const [frame] = await link.read(1);
    assertEquals(frame.kind, FRAME.replicaHello);
    readReplicaHello(frame.payload);
  }
  return link;
}

/** What a peer says when it refuses. */
async function refusalOf(link: FrameLink): Promise<PeerError> {
  try {
    await link.read();
  } catch (error) {
    link.abort(new WireError("link-lost", "over"));
    if (error instanceof PeerError) return error;
    throw error;
  }
  throw new Error("It was not refused");
}

/** A node that is linked and then says nothing, not even that it lives. */
async function mute(
  node: PeerNode,
  as: { self: Identity; store: string },
): Promise<Deno.Conn> {
  const { host, port } = node.links.address;
  const conn = await Deno.connect({ hostname: host, port });
  const handshake = new Handshake("dial", {
    self: as.self,
    accepts: ["chat"],
    nonce: new Uint8Array(16),
    silentMsMax: 60_000,
  });
  const buffer = new Uint8Array(4_096);
  let send: readonly Uint8Array[] = handshake.start();
  for (let isOver = false; !isOver;) {
    for (const bytes of send) await conn.write(bytes);
    const count = await conn.read(buffer);
    const step = handshake.push(buffer.slice(0, count ?? 0));
    ({ send } = step);
    isOver = step.peer !== undefined;
  }
  await conn.write(encodeReplicaHello(helloOf(as.store)));
  return conn;
}

// Meeting

Deno.test("peers: two nodes have one link, and each learns who the other is", async () => {
  const { a, b } = pair();
  await using _a = a;
  await using _b = b;
  await a.untilFate(B, ["up"]);
  await b.untilFate(A, ["up"]);
  assertEquals(a.inputs, [{
    kind: "peer-up",
    peer: {
      id: "server-2",
      kind: "server",
      priority: 0,
      store: B,
      incarnation: b.self.incarnation,
      group: undefined,
    },
  }]);
  assertEquals(a.links.clientAddressOf(B), "127.0.0.1:8091");
  assertEquals(a.links.addressOf(B), b.links.address);
  const [state] = a.links.states;
  assertEquals([state.id, state.store, state.isLinked, state.problem], [
    "server-2",
    B,
    true,
    undefined,
  ]);
});

Deno.test("peers: messages come in order, both ways, also those longer than a frame", async () => {
  const { a, b } = pair();
  await using _a = a;
  await using _b = b;
  await a.untilFate(B, ["up"]);
  await b.untilFate(A, ["up"]);
  const entries = Array.from({ length: 30 }, (_, i) => ({
    index: i + 1,
    epoch: EPOCH,
    command: new Uint8Array(100_000).fill(i),
  }));
  const previous = { index: 0, epoch: EPOCH };
  a.links.send(B, numbered(1));
  a.links.send(B, {
    kind: "append",
    epoch: EPOCH,
    previous,
    commit: 0,
    entries,
  });
  a.links.send(B, numbered(2));
  for (let round = 0; round < 100; round++) b.links.send(A, numbered(round));
  await b.untilMessages(A, 17);
  await a.untilMessages(B, 100);
  const got = b.messages(A);
  assertEquals([got[0], got[16]], [numbered(1), numbered(2)]);
  assertEquals(
    got.flatMap((message) => message.kind === "append" ? message.entries : []),
    entries,
  );
  assertEquals(
    a.messages(B),
    Array.from({ length: 100 }, (_, round) => numbered(round)),
  );
});

Deno.test("peers: what is sent to nobody goes nowhere", async () => {
  await using a = new PeerNode({ id: "server-1", store: A });
  a.links.send(B, numbered(1));
  a.links.flush();
  assertEquals(a.inputs, []);
});

Deno.test("peers: a node that is not in the list dials, and is let in", async () => {
  await using a = new PeerNode({ id: "server-1", store: A });
  // The lower one would dial, if it knew; so the higher one does in the end.
  await using b = new PeerNode({ id: "server-2", store: B, peers: [a.asPeer] });
  await a.untilFate(B, ["up"]);
  await b.untilFate(A, ["up"]);
  assertEquals(a.links.states.map(({ id }) => id), ["server-2"]);
  assertEquals(a.links.addressOf(B), undefined);
});

Deno.test("peers: two nodes that dial at once end with one link that both use", async () => {
  const waits = { ...WAITS, dialAnywayMs: 0 };
  for (let round = 0; round < 20; round++) {
    const listen = freeAddress();
    await using b = new PeerNode({
      id: "server-2",
      store: B,
      peers: [{ id: "server-1", kind: "server", address: listen }],
    }, { waits });
    await using a = new PeerNode({
      id: "server-1",
      store: A,
      listen,
      peers: [b.asPeer],
    }, { waits });
    await until("a message goes both ways", () => {
      a.links.send(B, numbered(1));
      b.links.send(A, numbered(2));
      return a.fate(B).at(-1) === "up" && b.fate(A).at(-1) === "up" &&
        a.messages(B).length > 0 && b.messages(A).length > 0;
    });
    await roundTrips();
    assertEquals([a.fate(B).at(-1), b.fate(A).at(-1)], ["up", "up"]);
  }
});

Deno.test("peers: more nodes than a group may have are told that it is busy, and those in the list have room", async () => {
  await using a = new PeerNode({
    id: "server-a",
    store: A,
    peers: [{ id: "server-b", kind: "server", address: freeAddress() }],
  });
  const links: FrameLink[] = [];
  for (let i = 0; i < NODES_MAX - 2; i++) {
    links.push(
      await dialAs(a, {
        self: identityOf(`x-${i}`),
        hello: helloOf(`1${i}`.padStart(16, "0")),
      }),
    );
  }
  const more = await dialAs(a, {
    self: identityOf("x-more"),
    hello: helloOf(C),
    waitsForHello: false,
  });
  const refusal = await refusalOf(more);
  assertEquals(refusal.code, "busy");
  assertStringIncludes(refusal.message, "knows 32 nodes");
  links.push(
    await dialAs(a, { self: identityOf("server-b"), hello: helloOf(B) }),
  );
  for (const link of links) link.abort(new WireError("link-lost", "over"));
});

Deno.test("peers: a list that names a node twice is refused", () => {
  const peer = { id: "b", kind: "server", address: freeAddress() } as const;
  assertThrows(
    () => new PeerNode({ id: "a", store: A, peers: [peer, peer] }),
    RangeError,
    "twice",
  );
});

// Loss

Deno.test("peers: both sides see at once that a process is gone, and link again when it is back", async () => {
  for (const gone of ["a", "b"] as const) {
    const nodes = pair();
    await using one = nodes[gone];
    await using other = nodes[gone === "a" ? "b" : "a"];
    const store = gone === "a" ? A : B;
    await other.untilFate(store, ["up"]);
    const { address } = one.links;
    await one.links.close();
    await other.untilFate(store, ["up", "down", "refused"]);
    assertEquals(other.downReason, "Peer closed the link");
    await using again = new PeerNode({
      id: one.self.id,
      store,
      listen: address,
      peers: [other.asPeer],
    });
    await other.untilFate(store, ["up", "down", "refused", "up"]);
    assert(again.fate(other === nodes.a ? A : B).length > 0);
  }
});

Deno.test("peers: a node that was known before and is not there is told of once, by the store it had", async () => {
  await using a = new PeerNode({
    id: "server-1",
    store: A,
    peers: [{ id: "server-2", kind: "server", address: freeAddress() }],
  }, { storeOf: (id) => id === "server-2" ? B : undefined });
  await a.untilFate(B, ["refused"]);
  await until("it dials again", () => a.log.lines.length > 0);
  await roundTrips(50);
  assertEquals(a.fate(B), ["refused"]);
  assertEquals(a.log.with("Cannot reach").length, 1);
});

Deno.test("peers: a peer that falls silent is given up", async () => {
  await using a = new PeerNode(
    { id: "server-1", store: A },
    { silentMsMax: 80 },
  );
  const conn = await mute(a, { self: identityOf("server-2"), store: B });
  await a.untilFate(B, ["up", "down"]);
  assertEquals(a.downReason, "Peer was silent for 80 ms");
  closeConn(conn);
});

Deno.test("peers: an event loop that was late takes nobody for dead", async () => {
  const { a, b } = pair({ silentMsMax: 100 });
  await using _a = a;
  await using _b = b;
  await a.untilFate(B, ["up"]);
  await b.untilFate(A, ["up"]);
  for (let round = 0; round < 5; round++) {
    const endMs = performance.now() + 40 + 60 * round;
    while (performance.now() < endMs);
    await roundTrips();
  }
  assertEquals([a.fate(B), b.fate(A)], [["up"], ["up"]]);
});

Deno.test("peers: more than may wait ends the link, and nothing is lost in silence", async () => {
  await using a = new PeerNode(
    { id: "server-1", store: A },
    { queueBytesMax: 1_000_000 },
  );
  const link = await dialAs(a, {
    self: identityOf("server-2"),
    hello: helloOf(B),
  });
  await a.untilFate(B, ["up"]);
  const commands = [new Uint8Array(100_000)];
  // It never reads: sooner or later the system takes no more.
  for (let sent = 0; sent < 1_000 && a.fate(B).length === 1; sent++) {
    a.links.send(B, { kind: "forward", commands });
    if (sent % 20 === 0) await roundTrips(1);
  }
  await a.untilFate(B, ["up", "down"]);
  assertStringIncludes(a.downReason ?? "", "limit is 1000000");
  link.abort(new WireError("link-lost", "over"));
});

Deno.test("peers: a node that breaks the rules is told which, what came before counts, others are not touched", async () => {
  await using a = new PeerNode({ id: "server-1", store: A });
  const good = await dialAs(a, {
    self: identityOf("server-3"),
    hello: helloOf(C),
  });
  const bad = await dialAs(a, {
    self: identityOf("server-2"),
    hello: helloOf(B),
  });
  bad.send(joined([
    encodeReplicaMessage(numbered(7)),
    encodeFrame(FRAME.replicaTalk, bytesOf("{}")),
    encodeReplicaMessage(numbered(8)),
  ]));
  assertEquals((await refusalOf(bad)).code, "invalid-message");
  await a.untilFate(B, ["up", "down"]);
  assertEquals(a.messages(B), [numbered(7)]);
  a.links.send(C, numbered(9));
  const [frame] = await good.read();
  assertEquals(decodeReplicaMessage(frame), numbered(9));
  assertEquals(a.fate(C), ["up"]);
  good.abort(new WireError("link-lost", "over"));
});

// Who is who

Deno.test("peers: a process that came back takes the place of its old link", async () => {
  await using a = new PeerNode({ id: "server-1", store: A });
  const hello = helloOf(B);
  const first = await dialAs(a, { self: identityOf("server-2"), hello });
  const self = identityOf("server-2");
  const second = await dialAs(a, { self, hello });
  await a.untilFate(B, ["up", "down", "up"]);
  assertStringIncludes(a.downReason ?? "", "newer link");
  const up = a.inputs.at(-1);
  assert(up?.kind === "peer-up");
  assertEquals(up.peer.incarnation, self.incarnation);
  a.links.send(B, numbered(1));
  const [frame] = await second.read();
  assertEquals(decodeReplicaMessage(frame), numbered(1));
  for (const link of [first, second]) {
    link.abort(new WireError("link-lost", "over"));
  }
});

Deno.test("peers: another data directory under a living node's id is refused, and its operator told", async () => {
  const { a, b } = pair();
  await using _a = a;
  await using _b = b;
  await a.untilFate(B, ["up"]);
  await using twin = new PeerNode({
    id: "server-2",
    store: C,
    peers: [a.asPeer],
  });
  await until("the twin is told", () => twin.idTaken.length > 1);
  assertStringIncludes(
    twin.idTaken[0],
    'The node id "server-2" is in use by another process',
  );
  assertEquals(a.fate(B), ["up"]);
  assertEquals(a.log.with("Refused").length, 1);
  assertEquals(twin.log.with("refuses this node").length, 1);
  assertStringIncludes(twin.links.states[0].problem ?? "", "server-2");
});

Deno.test("peers: a copied data directory is refused, whoever meets its owner", async () => {
  const { a, b } = pair();
  await using _a = a;
  await using _b = b;
  await a.untilFate(B, ["up"]);
  await using copy = new PeerNode({
    id: "server-9",
    store: B,
    peers: [a.asPeer, b.asPeer],
  });
  await until("the copy is told by both", () => {
    const texts = copy.idTaken.join("\n");
    return texts.includes(
      'data directory of "server-9" is in use by another process: "server-2"',
    ) && texts.includes('is a copy of that of "server-2"');
  });
  assertEquals([a.fate(B), b.fate(B)], [["up"], []]);
});

Deno.test("peers: an address that leads back to the node itself is said", async () => {
  const listen = freeAddress();
  await using a = new PeerNode({
    id: "server-1",
    store: A,
    listen,
    peers: [{ id: "server-2", kind: "server", address: listen }],
  });
  await until("it is said", () => a.log.with("itself").length > 0);
  assertStringIncludes(
    a.log.with("itself")[0],
    `127.0.0.1:${listen.port} was given for "server-2" and leads to "server-1" itself`,
  );
  await roundTrips();
  assertEquals(a.inputs, []);
});

Deno.test("peers: an address that leads to another node is said at both ends", async () => {
  await using c = new PeerNode({ id: "server-3", store: C });
  await using a = new PeerNode({
    id: "server-1",
    store: A,
    peers: [{ ...c.asPeer, id: "server-2" }],
  });
  const text = 'was given for "server-2" and leads to "server-3"';
  await until(
    "both say it",
    () => a.log.with(text).length > 0 && c.log.with(text).length > 0,
  );
  assertEquals(a.inputs, []);
});

Deno.test("peers: a witness where a server is wanted is refused", async () => {
  await using w = new PeerNode({ id: "server-2", store: B }, {
    self: identityOf("server-2", "witness"),
    hello: () => ({ ...helloOf(B), kind: "witness" }),
  });
  await using a = new PeerNode({
    id: "server-1",
    store: A,
    peers: [w.asPeer],
  });
  await until(
    "it is said",
    () => a.log.with('"server-2" is a witness').length > 0,
  );
  await using b = new PeerNode({
    id: "server-1",
    store: C,
    peers: [{ ...w.asPeer, kind: "witness" }],
  });
  await b.untilFate(B, ["up"]);
});

Deno.test("peers: another cluster, key or role is said at both ends, at a bounded rate", async () => {
  const key = bytesOf("a key of sixteen bytes");
  const cases = [
    ["cluster-mismatch", { self: { ...identityOf("server-1"), cluster: "x" } }],
    ["wrong-key", { key: bytesOf("another key altogether") }],
    ["key-required", { key: undefined }],
    ["role-mismatch", { self: identityOf("server-1", "chain") }],
  ] as const;
  for (const [code, { ...changes }] of cases) {
    await using b = new PeerNode({ id: "server-2", store: B }, { key });
    const { key: own, ...rest } = { key, ...changes };
    await using a = new PeerNode(
      { id: "server-1", store: A, peers: [b.asPeer] },
      {
        ...rest,
        ...(own !== undefined && { key: own }),
        waits: { ...WAITS, refusedRedialMs: 2 },
      },
    );
    await until("it is tried again and again", () => b.links.refused > 20);
    const codes = [a, b].map(({ log }) =>
      log.lines.filter(({ fields }) => fields.code === code).length
    );
    assertEquals(codes[0], 1, code);
    assertLess(codes[1], 20, code);
    assert(codes[1] > 0, code);
    assertEquals([a.inputs, b.inputs], [[], []]);
  }
});

Deno.test("peers: who says nothing after its handshake is given up", async () => {
  await using a = new PeerNode(
    { id: "server-1", store: A },
    { waits: { ...WAITS, helloWaitMs: 50 } },
  );
  const greeting = { self: identityOf("server-2"), accepts: ["chat" as const] };
  const link = new FrameLink(
    await dial(a.links.address, greeting, { silentMsMax: 60_000 }),
  );
  const error = await assertRejects(() => link.read(), WireError);
  assertEquals(error.code, "timeout");
  assertEquals(a.log.with("said nothing for 50 ms").length, 1);
  assertEquals(a.inputs, []);
  link.abort(error);
});

Deno.test("peers: closing sends what waits, and ends dials, probes and handshakes", async () => {
  const { a, b } = pair();
  await a.untilFate(B, ["up"]);
  await b.untilFate(A, ["up"]);
  const silent = await Deno.connect({
    hostname: LISTEN.hostname,
    port: a.links.address.port,
  });
  const commands = [new Uint8Array(100_000)];
  for (let i = 0; i < 50; i++) a.links.send(B, { kind: "forward", commands });
  a.links.send(B, { kind: "leaving", reason: "stopped", isForGood: false });
  await a.links.close();
  await b.untilFate(A, ["up", "down"]);
  assertEquals(b.messages(A).at(-1), {
    kind: "leaving",
    reason: "stopped",
    isForGood: false,
  });
  assertEquals(b.messages(A).length, 51);
  await b.links.close();
  closeConn(silent);
  assertLessOrEqual(a.inputs.length, 1);
});

Deno.test("peers: an address in use is the system's error", async () => {
  await using a = new PeerNode({ id: "server-1", store: A });
  assertThrows(
    () =>
      new PeerLinks({
        self: identityOf("server-2"),
        listen: a.links.address,
        peers: [],
        hello: () => helloOf(B),
        silentMsMax: 60_000,
        log: a.log,
        onInputs: () => {},
        onIdTaken: () => {},
        advert: () => advertOf("server-2", B),
      }),
    Deno.errors.AddrInUse,
  );
});

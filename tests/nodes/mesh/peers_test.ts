import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { Identity } from "../../../protocol/handshake.ts";
import {
  MESH_SERVERS_MAX,
  type PeerMessage,
} from "../../../protocol/mesh_peer.ts";
import { encodeFrame, FRAME } from "../../../protocol/frame.ts";
import type { LinkId } from "../../../protocol/core.ts";
import { FrameLink } from "../../../nodes/host/frame_link.ts";
import { dial, type Greeting } from "../../../nodes/host/link.ts";
import { Listener } from "../../../nodes/host/listener.ts";
import type { Log, LogFields } from "../../../nodes/host/log.ts";
import type { MeshInput } from "../../../nodes/mesh/contract.ts";
import { EVENTS_QUEUE_BYTES_MAX, Peers } from "../../../nodes/mesh/peers.ts";
import { WireError } from "../../../protocol/errors.ts";
import { until } from "../../process/until.ts";

const SILENT_MS_MAX = 2_000;

/** A log that keeps its lines. */
class KeptLog implements Log {
  readonly lines: string[] = [];
  debug(message: string, fields?: LogFields): void {
    this.#keep("debug", message, fields);
  }
  info(message: string, fields?: LogFields): void {
    this.#keep("info", message, fields);
  }
  warn(message: string, fields?: LogFields): void {
    this.#keep("warn", message, fields);
  }
  error(message: string, fields?: LogFields): void {
    this.#keep("error", message, fields);
  }
  #keep(level: string, message: string, _fields?: LogFields): void {
    this.lines.push(`${level}: ${message}`);
  }
}

let identities = 0;

/** A server's links, without a core: inputs are only kept. */
class Side implements AsyncDisposable {
  readonly inputs: MeshInput[] = [];
  readonly log = new KeptLog();
  readonly peers: Peers;
  readonly self: Identity;
  readonly greeting: Greeting;
  readonly #listener: Listener;

  constructor(id: string, port = 0) {
    const incarnation = (++identities).toString(16).padStart(16, "0");
    this.self = { cluster: "skein", role: "mesh", id, incarnation };
    this.greeting = { self: this.self, accepts: ["mesh"] };
    this.peers = new Peers({
      ...{ greeting: this.greeting, silentMsMax: SILENT_MS_MAX },
      log: this.log,
      input: (input) => this.inputs.push(input),
    });
    this.#listener = new Listener({
      listen: { host: "127.0.0.1", port },
      ...{ greeting: this.greeting, silentMsMax: SILENT_MS_MAX },
      ...{ lines: "none", connectionsMax: 16, log: this.log },
      onLink: (open) => this.peers.accept(open, () => this.#listener.release()),
      onLines: (link) => link.abort(),
    });
  }

  get address() {
    return this.#listener.address;
  }

  meet(other: Side, id = other.self.id): boolean {
    const { address } = other;
    return this.peers.meet({ id, address, isConfigured: true });
  }

  of<Kind extends MeshInput["kind"]>(kind: Kind) {
    return this.inputs.filter((input): input is MeshInput & { kind: Kind } =>
      input.kind === kind
    );
  }

  async linked(id: string): Promise<LinkId> {
    const up = await until(
      `${this.self.id} is linked to ${id}`,
      () => this.of("link-up").findLast(({ peer }) => peer === id),
      { context: () => this.log.lines.join("\n") },
    );
    return up.link;
  }

  async said(text: string): Promise<void> {
    await until(
      `${this.self.id} logs "${text}"`,
      () => this.log.lines.some((line) => line.includes(text)),
      { context: () => this.log.lines.join("\n") },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.peers.stop();
  }
}

const HELLO: PeerMessage = { kind: "hello", generation: 7, known: 5 };

Deno.test("mesh peers: whoever is met is dialled, and messages go both ways", async () => {
  await using a = new Side("A");
  await using b = new Side("B");
  a.meet(b);
  const [atA, atB] = [await a.linked("B"), await b.linked("A")];
  assertEquals(a.of("link-up")[0].isDialed, true);
  assertEquals(b.of("link-up")[0].isDialed, false);
  assertEquals(b.of("link-up")[0].incarnation, a.self.incarnation);
  a.peers.send(atA, HELLO);
  b.peers.send(atB, { ...HELLO, generation: 8 });
  const heard = (side: Side) =>
    until("a message comes", () => side.of("peer").at(0)?.message);
  assertEquals(await heard(b), HELLO);
  assertEquals(await heard(a), { ...HELLO, generation: 8 });
  assertEquals(a.peers.states.map(({ id, linked }) => [id, linked]), [
    ["B", true],
  ]);
  // Counted while the link stands, and still there when it is gone.
  const { sentBytes, receivedBytes } = a.peers.counters;
  assert(sentBytes > 0 && receivedBytes > 0);
  await a.peers.stop();
  assert(a.peers.counters.sentBytes >= sentBytes);
});

Deno.test("mesh peers: a server that ends is told of, and dialled until it is back", async () => {
  await using a = new Side("A");
  const first = new Side("B");
  const { port } = first.address;
  a.meet(first);
  await a.linked("B");
  await first[Symbol.asyncDispose]();
  const down = await until("A notices", () => a.of("link-down").at(0));
  assertEquals(down.reason, "This server is stopping");
  assertEquals(a.peers.isLinked("B"), false);
  await using again = new Side("B", port);
  await until("A finds it again", () => a.of("link-up").length === 2);
  assertEquals(a.of("link-up")[1].incarnation, again.self.incarnation);
  assertEquals(a.of("link-down").length, 1);
});

Deno.test("mesh peers: another server than was meant is no link, and is said", async () => {
  await using a = new Side("A");
  await using c = new Side("C");
  a.meet(c, "B");
  await a.said('but "C" is there');
  await c.said("Server A has ended the link");
  assertEquals(a.inputs, []);
  assertEquals(a.peers.isLinked("B"), false);
  assertEquals(a.peers.isLinked("C"), false);
});

Deno.test("mesh peers: one's own address among the others is passed over", async () => {
  await using a = new Side("A");
  a.meet(a, "B");
  await a.said("which is this server itself");
  assertEquals(a.inputs, []);
  assertEquals(a.peers.states, []);
  assertEquals(a.meet(a), false);
});

Deno.test("mesh peers: whoever was said to be at one's own address is dialled where he is said to be later", async () => {
  await using a = new Side("A");
  await using b = new Side("B");
  const meet = (side: Side) =>
    a.peers.meet({ id: "B", address: side.address, isConfigured: false });
  meet(a);
  await a.said("which is this server itself");
  // The same once more changes nothing.
  meet(a);
  assertEquals(a.peers.states, []);
  meet(b);
  await a.linked("B");
});

Deno.test("mesh peers: beyond the bound nobody more is dialled, and that is said once", async () => {
  await using a = new Side("A");
  await using b = new Side("B");
  const meet = (id: string) =>
    a.peers.meet({ id, address: b.address, isConfigured: false });
  for (let i = 0; i < MESH_SERVERS_MAX; i++) assert(meet(`X${i}`));
  for (let i = 0; i < 10; i++) assert(!meet(`Y${i}`));
  const said = a.log.lines.filter((line) => line.includes("its limit"));
  assertEquals(said, [
    "warn: Dials 64 servers, which is its limit: others must dial this one",
  ]);
  assert(meet("X1"));
});

Deno.test("mesh peers: a namesake is refused, and both hear why", async () => {
  await using a = new Side("A");
  await using twin = new Side("A");
  await using b = new Side("B");
  b.meet(a);
  await b.linked("A");
  const open = await dial(a.address, twin.greeting, {
    silentMsMax: SILENT_MS_MAX,
  });
  const link = new FrameLink(open);
  try {
    await link.read();
    throw new Error("It was taken");
  } catch (error) {
    assert(error instanceof WireError, String(error));
    assertEquals(error.code, "id-taken");
    assertStringIncludes(error.message, 'is called "A" as well');
  } finally {
    await link.close();
  }
  await a.said('Refused a server: This server is called "A" as well');
  assertEquals(a.peers.isLinked("B"), true, "nobody else has noticed");
});

Deno.test("mesh peers: a frame that cannot be read ends its link alone", async () => {
  await using a = new Side("A");
  await using b = new Side("B");
  await using bad = new Side("X");
  b.meet(a);
  await b.linked("A");
  const wrong = [
    encodeFrame(FRAME.meshEvents, new TextEncoder().encode("A {}\n")),
    encodeFrame(FRAME.meshHello, new TextEncoder().encode("{}")),
    encodeFrame(FRAME.chainData),
  ];
  for (const [at, frame] of wrong.entries()) {
    const link = new FrameLink(
      await dial(a.address, bad.greeting, { silentMsMax: SILENT_MS_MAX }),
    );
    link.send(frame);
    try {
      await link.read();
      throw new Error("It was taken");
    } catch (error) {
      assert(error instanceof WireError, String(error));
      assertEquals(error.code, "invalid-message");
    } finally {
      await link.close();
    }
    await until("A has let go", () => a.of("link-down").length === at + 1);
  }
  await a.said("Ended the link with server X: Cannot ");
  assertEquals(a.peers.isLinked("B"), true);
});

Deno.test("mesh peers: to a server that does not read messages are dropped, and nothing else", async () => {
  await using a = new Side("A");
  await using slow = new Side("S");
  const open = await dial(a.address, slow.greeting, { silentMsMax: 60_000 });
  const id = await a.linked("S");
  const text = "x".repeat(16_000);
  const event = (n: number) => ({
    via: ["A"],
    event: {
      origin: { id: "A", generation: 1 },
      ...{ n, messages: n, time: 1 },
      body: { kind: "msg" as const, from: "Dana", text },
    },
    json: JSON.stringify({ text }),
  });
  let sent = 0;
  while (a.peers.counters.dropped === 0) {
    a.peers.send(id, { kind: "events", events: [event(++sent)] });
    assert(sent < 10_000, "it takes any number");
    // The system takes what it can.
    if (sent % 16 === 0) await new Promise((resolve) => setTimeout(resolve));
  }
  assert(a.peers.queuedBytes > EVENTS_QUEUE_BYTES_MAX);
  assert(a.peers.queuedBytes < EVENTS_QUEUE_BYTES_MAX + 65_536);
  await a.said("Server S is slow to take messages");
  const before = a.peers.queuedBytes;
  a.peers.send(id, HELLO);
  assert(a.peers.queuedBytes > before, "all else is kept");
  assertEquals(a.peers.isLinked("S"), true);
  open.link.abort();
  await until("A notices", () => a.of("link-down").length === 1);
});

Deno.test("mesh peers: what the core ends is over without a further input", async () => {
  await using a = new Side("A");
  await using b = new Side("B");
  a.meet(b);
  const id = await a.linked("B");
  await b.linked("A");
  a.peers.close(id, new WireError("busy", "One link is enough"));
  await until("B hears why", () => b.of("link-down").at(0));
  assertEquals(b.of("link-down")[0].reason, "One link is enough");
  await until("A dials again", () => a.of("link-up").length === 2);
  assertEquals(a.of("link-down"), []);
});

import { assert, assertEquals } from "@std/assert";
import { ANEW_SPREAD } from "../../../nodes/mesh/cluster.ts";
import type { MeshEffect } from "../../../nodes/mesh/contract.ts";
import { EARLY_EVENTS_MAX } from "../../../nodes/mesh/early_events.ts";
import { SERVER_KEPT_MS } from "../../../nodes/mesh/known_servers.ts";
import { USERS_PER_SERVER_MAX } from "../../../nodes/mesh/presence.ts";
import { ANSWER_BYTES_MAX, LACK_WAIT_MS } from "../../../nodes/mesh/repairs.ts";
import { formatMeshEvent } from "../../../protocol/mesh_event.ts";
import {
  GENERATION_MAX,
  MESH_SERVERS_MAX,
  type MeshEvent,
  type PeerMessage,
  type RelayedEvent,
} from "../../../protocol/mesh_peer.ts";
import {
  encodePeerMessage,
  relayedBytes,
} from "../../../protocol/mesh_peer_codec.ts";
import { beat, DrivenCore, sent, START_MS, told } from "./driven_mesh.ts";

/** Message number `n` of a stream of nothing but messages. */
function said(
  id: string,
  n: number,
  { via = [id], generation = START_MS, text = `m${n}` } = {},
): RelayedEvent {
  const event: MeshEvent = {
    origin: { id, generation },
    ...{ n, messages: n, time: START_MS },
    body: { kind: "msg", from: "Dana", text },
  };
  return { via, event, json: formatMeshEvent(event) };
}

function events(...list: RelayedEvent[]): PeerMessage {
  return { kind: "events", events: list };
}

/** A server A with a link, number 1, to a peer B that the test plays. */
function linked(options = {}): DrivenCore {
  const server = new DrivenCore({ id: "A", ...options });
  server.linkTo("B", 1);
  return server;
}

function closed(effects: readonly MeshEffect[]): unknown[] {
  return effects.flatMap((effect) =>
    effect.kind === "close" ? [[effect.link, effect.error?.code]] : []
  );
}

function delivered(effects: readonly MeshEffect[]): string[] {
  return effects.flatMap((effect) =>
    effect.kind === "deliver" ? [effect.message.text] : []
  );
}

function up(
  link: number,
  peer: string,
  { incarnation = peer, isDialed = true } = {},
) {
  return { kind: "link-up" as const, link, peer, incarnation, isDialed };
}

// Links

Deno.test("mesh peers: an id that is taken is refused", () => {
  const server = linked();
  assertEquals(closed(server.step(up(2, "A"))), [[2, "id-taken"]]);
  const other = server.step(up(3, "B", { incarnation: "other" }));
  assertEquals(closed(other), [[3, "id-taken"]]);
  assert(server.core.isLinked("B"));
});

Deno.test("mesh peers: of two links the one that the lower id dialled stays", () => {
  const cases = [
    { self: "A", first: true, second: false, closes: 2 },
    { self: "A", first: false, second: true, closes: 1 },
    { self: "C", first: true, second: false, closes: 1 },
    { self: "C", first: false, second: true, closes: 2 },
    // Who dials again has lost the link before.
    { self: "C", first: true, second: true, closes: 1 },
    { self: "A", first: false, second: false, closes: 1 },
  ];
  for (const { self, first, second, closes } of cases) {
    const server = new DrivenCore({ id: self });
    server.step(up(1, "B", { isDialed: first }));
    const effects = server.step(up(2, "B", { isDialed: second }));
    assertEquals(closed(effects), [[closes, undefined]]);
    assert(server.core.isLinked("B"));
  }
});

Deno.test("mesh peers: a link more than there may be servers is refused", () => {
  const server = new DrivenCore({ id: "A" });
  for (let link = 1; link < MESH_SERVERS_MAX; link++) {
    assertEquals(closed(server.step(up(link, `s${link}`))), []);
  }
  assertEquals(closed(server.step(up(99, "more"))), [[99, "busy"]]);
});

Deno.test("mesh peers: hello comes first, and once", () => {
  const server = new DrivenCore({ id: "A" });
  server.step(up(1, "B"));
  const early = server.hear(1, beat("B", START_MS, []));
  assertEquals(closed(early), [[1, "invalid-message"]]);
  // Nothing that was on its way is taken any more.
  assertEquals(server.hear(1, { kind: "hello", generation: 1, known: 0 }), []);
  const twice = linked();
  const hello = { kind: "hello", generation: START_MS, known: 0 } as const;
  assertEquals(closed(twice.hear(1, hello)), [[1, "invalid-message"]]);
});

Deno.test("mesh peers: a way that begins or ends elsewhere closes the link, and is not taken", () => {
  for (const via of [["B", "C"], ["C", "B"], ["C"]]) {
    const server = linked();
    const effects = server.hear(1, events(said("B", 1, { via })));
    assertEquals(closed(effects), [[1, "invalid-message"]]);
    assertEquals(delivered(effects), []);
    assertEquals(server.core.isLinked("B"), false);
  }
});

// Streams

Deno.test("mesh peers: events come in their turn, each once", () => {
  const server = linked();
  const got = [2, 1, 1, 4, 2, 3, 3].flatMap((n) =>
    delivered(server.hear(1, events(said("B", n))))
  );
  assertEquals(got, ["m1", "m2", "m3", "m4"]);
  assertEquals(server.core.counters.duplicates, 3);
});

Deno.test("mesh peers: what is ahead of its turn is kept up to a bound, and asked for", () => {
  const server = linked();
  for (let n = 2; n < EARLY_EVENTS_MAX + 100; n++) {
    server.hear(1, events(said("B", n)));
  }
  server.hear(1, events(said("B", Number.MAX_SAFE_INTEGER - 1)));
  const [, stream] = server.core.streams;
  assertEquals(stream.early, EARLY_EVENTS_MAX);
  server.wait(250);
  assertEquals(
    sent(server.wait(250)).filter(({ kind }) => kind === "ask"),
    [{
      kind: "ask",
      origin: { id: "B", generation: START_MS },
      after: 0,
    }],
  );
  const got = delivered(server.hear(1, events(said("B", 1))));
  assertEquals(got.length, EARLY_EVENTS_MAX + 1);
});

Deno.test("mesh peers: a peer that claims what is not there costs a question a second", () => {
  const server = linked();
  server.hear(1, {
    ...beat("B", START_MS, ["A"]),
    seen: [{ id: "B", generation: START_MS, n: 2 ** 50 }],
  } as PeerMessage);
  let asks = 0;
  for (let ms = 0; ms < 10_000; ms += 250) {
    asks += sent(server.wait(250)).filter(({ kind }) => kind === "ask").length;
  }
  assert(asks >= 8 && asks <= 11, `${asks} questions`);
});

Deno.test("mesh peers: an event goes no further after 16 servers, or where it has been", () => {
  const server = linked({ topology: "bus" });
  server.linkTo("C", 2);
  // A bus A - B - C: B and C are not linked, so all links push.
  const far = ["B", ...Array.from({ length: 14 }, (_, at) => `s${at}`), "B"];
  const onward = (relayed: RelayedEvent) =>
    sent(server.hear(1, events(relayed))).filter(({ kind }) =>
      kind === "events"
    ).length;
  assertEquals(onward(said("B", 1)), 1);
  assertEquals(onward(said("B", 2, { via: far })), 0);
  assertEquals(onward(said("B", 3, { via: ["B", "A", "B"] })), 0);
  assertEquals(server.core.counters.loops, 2);
  assertEquals(server.core.counters.delivered, 3);
});

Deno.test("mesh peers: a later life counts, an earlier one does not", () => {
  const server = linked();
  const generation = START_MS + 5;
  assertEquals(
    delivered(server.hear(1, events(said("B", 1, { generation })))),
    ["m1"],
  );
  assertEquals(delivered(server.hear(1, events(said("B", 1)))), []);
});

Deno.test("mesh peers: a server of which a later life is known begins above it", () => {
  const ways: readonly PeerMessage[] = [
    {
      ...beat("B", START_MS, ["A"]),
      seen: [{ id: "A", generation: START_MS + 7, n: 1 }],
    } as PeerMessage,
    beat("A", START_MS + 7, []),
    events(said("A", 1, { via: ["A", "B"], generation: START_MS + 7 })),
  ];
  for (const way of ways) {
    const server = new DrivenCore({ id: "A" });
    server.ask(1, { kind: "login", name: "Dana", more: false });
    server.linkTo("B", 1);
    server.nowMs += 2_000;
    server.hear(1, way);
    server.wait(2_000);
    const [own] = server.core.streams;
    assertEquals([own.generation, own.n], [
      START_MS + 8 + START_MS % ANEW_SPREAD,
      1,
    ]);
  }
});

Deno.test("mesh peers: numbers that this server never gave begin a new life", () => {
  const server = linked();
  server.hear(1, {
    ...beat("B", START_MS, ["A"]),
    seen: [{ id: "A", generation: START_MS, n: 9 }],
  } as PeerMessage);
  const [{ generation }] = server.core.streams;
  assertEquals(generation, START_MS + 1 + START_MS % ANEW_SPREAD);
});

Deno.test("mesh peers: who names the highest generation of all is sent away", () => {
  const server = linked();
  const effects = server.hear(1, beat("A", GENERATION_MAX, []));
  assertEquals(closed(effects), [[1, "invalid-message"]]);
  assertEquals(server.core.streams[0].generation, START_MS);
});

Deno.test("mesh peers: no more servers are known than there may be; they are forgotten after an hour", () => {
  const server = linked();
  for (let round = 0; round < 3; round++) {
    server.hear(1, {
      kind: "beat",
      servers: [],
      seen: Array.from({ length: MESH_SERVERS_MAX }, (_, at) => ({
        ...{ id: `s${round}-${at}`, generation: 1, n: 0 },
      })),
      topology: { topology: "mesh", version: 0, by: "B" },
    });
  }
  assertEquals(server.core.streams.length, MESH_SERVERS_MAX);
  // One that is linked is taken in place of hearsay.
  server.linkTo("C", 2);
  assert(server.core.streams.some(({ id }) => id === "C"));
  server.wait(SERVER_KEPT_MS + 1_000);
  assertEquals(server.core.streams.map(({ id }) => id), ["A", "B", "C"]);
});

// Repairs

/** What this server answers when B asks for its own events after a number. */
function answersTo(server: DrivenCore, after?: number): PeerMessage[] {
  const origin = { id: "A", generation: START_MS };
  return sent(server.hear(1, {
    ...{ kind: "ask", origin },
    ...after !== undefined && { after },
  }));
}

Deno.test("mesh peers: one answer fits a frame; a question beyond the end has none", () => {
  const server = linked();
  server.ask(1, { kind: "login", name: "Dana", more: false });
  const text = "ö".repeat(5_000);
  for (let at = 0; at < 100; at++) {
    server.ask(1, { kind: "say", text, isLocal: false });
  }
  const [answer, ...more] = answersTo(server, 0);
  assertEquals(more, []);
  assert(answer.kind === "events");
  assertEquals(answer.events[0].event.n, 1);
  assert(answer.events.length > 10);
  const bytes = answer.events.reduce((sum, one) => sum + relayedBytes(one), 0);
  assert(bytes <= ANSWER_BYTES_MAX);
  assertEquals(encodePeerMessage(answer).length, 1);
  assertEquals(answersTo(server, 101), []);
  assertEquals(answersTo(server, 2 ** 50), []);
});

Deno.test("mesh peers: what is kept is bounded by count, bytes and age", () => {
  const bounds = [
    { eventsMax: 10, bytesMax: 1e9, ageMsMax: 1e9 },
    { eventsMax: 1e9, bytesMax: 20_000, ageMsMax: 1e9 },
    { eventsMax: 1e9, bytesMax: 1e9, ageMsMax: 1_000 },
  ];
  for (const recent of bounds) {
    const server = linked({ recent });
    server.ask(1, { kind: "login", name: "Dana", more: false });
    for (let at = 0; at < 100; at++) {
      server.nowMs += 50;
      server.ask(1, { kind: "say", text: "Hello", isLocal: false });
    }
    const [answer] = answersTo(server, 0);
    assert(answer.kind === "presence");
    const [{ recent: kept }] = server.core.streams;
    assert(kept > 5 && kept < 60, `${kept} are kept`);
    assertEquals([answer.n, answer.messages], [101 - kept, 100 - kept]);
    assertEquals(answer.users.map(({ name }) => name), ["Dana"]);
  }
});

Deno.test("mesh peers: what the origin has not kept is told of as missed", () => {
  const server = linked();
  server.hear(1, events(said("B", 1)));
  const seen = [{ id: "B", generation: START_MS, n: 30 }];
  server.hear(1, { ...beat("B", START_MS, ["A"]), seen } as PeerMessage);
  server.wait(250);
  server.wait(250);
  const presence: PeerMessage = {
    kind: "presence",
    origin: { id: "B", generation: START_MS },
    ...{ after: 1, n: 20, messages: 20, users: [] },
    ...{ isFirst: true, isLast: true },
  };
  const effects = server.hear(1, presence);
  assertEquals(told(effects, 1), [{
    type: "system",
    text: "19 messages from Server B were missed",
    notice: { code: "missed", server: "B", count: 19 },
  }]);
  // It asks on at once, and the same answer again is no answer.
  assertEquals(sent(effects).map(({ kind }) => kind), ["ask"]);
  assertEquals(told(server.hear(1, presence), 1), []);
  assertEquals(server.core.counters.missed, 19);
});

/** What clients are given, and told of as missed, in order. */
function shown(effects: readonly MeshEffect[]): string[] {
  return effects.flatMap((effect) => {
    if (effect.kind === "deliver") return [effect.message.text];
    if (effect.kind !== "tell" || effect.message.type !== "system") return [];
    const { notice } = effect.message;
    return notice?.code === "missed" ? [`${notice.count} missed`] : [];
  });
}

Deno.test("mesh peers: what is held between the gaps is given, in its place", () => {
  const server = linked();
  const held = [1, 4, 5, 8, 11, 12, 15].map((n) => said("B", n));
  for (const relayed of held) server.hear(1, events(relayed));
  server.wait(250);
  assertEquals(sent(server.wait(250)).map(({ kind }) => kind), ["ask"]);
  const effects = server.hear(1, {
    kind: "presence",
    origin: { id: "B", generation: START_MS },
    ...{ after: 1, n: 12, messages: 12, users: [] },
    ...{ isFirst: true, isLast: true },
  });
  assertEquals(shown(effects), [
    ...["2 missed", "m4", "m5", "2 missed", "m8", "2 missed", "m11", "m12"],
  ]);
  const [, stream] = server.core.streams;
  assertEquals([stream.n, stream.recent, stream.early], [12, 2, 1]);
});

/** A server that has met B, and hears of C in its midst. */
function meeting(seen: number): { server: DrivenCore; effects: MeshEffect[] } {
  const server = linked();
  const effects = server.hear(1, {
    ...beat("B", START_MS, ["A"]),
    seen: [{ id: "C", generation: START_MS, n: seen }],
  } as PeerMessage);
  return { server, effects };
}

/** Who is present at C, after event `n` of nothing but messages. */
function presenceOfC(n: number): PeerMessage {
  return {
    ...{ kind: "presence", origin: { id: "C", generation: START_MS } },
    ...{ n, messages: n, isFirst: true, isLast: true },
    users: [{ name: "Dana", since: 1, rooms: [] }],
  };
}

Deno.test("mesh peers: what comes before its origin was met is given", () => {
  const { server, effects } = meeting(19);
  assertEquals(sent(effects).map(({ kind }) => kind), ["ask"]);
  const via = ["C", "B"];
  for (const n of [20, 21, 23]) {
    assertEquals(shown(server.hear(1, events(said("C", n, { via })))), []);
  }
  const met = server.hear(1, presenceOfC(23));
  assertEquals(shown(met), ["m20", "m21"]);
  // What lacks is asked for at once, and no client hears of what was before.
  assertEquals(sent(met), [{
    ...{ kind: "ask", origin: { id: "C", generation: START_MS }, after: 21 },
  }]);
  const rest = server.hear(1, events(said("C", 22, { via })));
  assertEquals(shown(rest), ["m22", "m23"]);
  const stream = server.core.streams.find(({ id }) => id === "C");
  assertEquals([stream?.users, stream?.early], [1, 0]);
  assertEquals(server.core.counters.missed, 0);
});

Deno.test("mesh peers: a server that is linked is itself asked who is there, for a second", () => {
  const { server } = meeting(19);
  // Asked of B already; but what C sends may be behind B's answer.
  server.step(up(2, "C"));
  assertEquals(sent(server.hear(1, presenceOfC(20))), []);
  server.hear(2, { kind: "hello", generation: START_MS, known: 0 });
  const asked = server.hear(2, events(said("C", 20)));
  assertEquals(shown(asked), []);
  const ask = asked.find((effect) =>
    effect.kind === "send" && effect.message.kind === "ask"
  );
  assert(ask?.kind === "send");
  assertEquals(ask.link, 2);
  assertEquals(shown(server.hear(2, presenceOfC(20))), ["m20"]);

  const other = meeting(19).server;
  other.step(up(2, "C"));
  assertEquals(sent(other.hear(1, presenceOfC(20))), []);
  // C says nothing: after a second B will do.
  let asks: PeerMessage[] = [];
  while (asks.length === 0 && other.nowMs < 5_000) {
    asks = sent(other.wait(250)).filter(({ kind }) => kind === "ask");
  }
  assertEquals(other.nowMs, 1_000);
  other.hear(1, presenceOfC(20));
  const stream = other.core.streams.find(({ id }) => id === "C");
  assertEquals(stream?.n, 20);
});

Deno.test("mesh peers: a new name takes its own rooms along, whoever has the old one now", () => {
  const server = linked();
  const origin = { id: "B", generation: START_MS };
  const bodies: MeshEvent["body"][] = [
    {
      ...{ kind: "login", name: "Dana-B", since: 1, was: "Dana" },
      rooms: ["tea"],
    },
    { kind: "login", name: "Dana", since: 5 },
    { kind: "join", name: "Dana", room: "work" },
  ];
  const later = bodies.map((body, at) => {
    const event = { origin, n: at + 3, messages: 0, time: START_MS, body };
    return { via: ["B"], event, json: formatMeshEvent(event) };
  });
  server.hear(1, events(later[0]));
  server.wait(250);
  server.wait(250);
  server.hear(1, {
    ...{ kind: "presence", origin, after: 0, n: 2, messages: 0 },
    ...{ isFirst: true, isLast: true },
    users: [
      { name: "Dana-B", since: 1, rooms: ["tea"] },
      { name: "Dana", since: 5, rooms: ["work"] },
    ],
  });
  server.hear(1, events(...later.slice(1)));
  server.ask(1, { kind: "login", name: "Lina", more: false });
  const inRoom = (room: string) => {
    const [who] = server.ask(1, { kind: "who", room });
    assert(who.type === "who");
    return who.users.map(({ name }) => name);
  };
  assertEquals([inRoom("tea"), inRoom("work")], [["Dana-B"], ["Dana"]]);
});

Deno.test("mesh peers: what a neighbour has not kept is waited for", () => {
  const server = linked();
  const origin = { id: "C", generation: START_MS };
  server.hear(1, events(said("C", 1, { via: ["C", "B"] })));
  const seen = [{ ...origin, n: 30 }];
  server.hear(1, { ...beat("B", START_MS, ["A"]), seen } as PeerMessage);
  let answeredMs = 0;
  for (let ms = 0; ms < 4 * LACK_WAIT_MS && answeredMs === 0; ms += 250) {
    const asks = sent(server.wait(250)).filter(({ kind }) => kind === "ask");
    for (const _ of asks) {
      const effects = server.hear(1, {
        ...{ kind: "presence", origin, after: 1, n: 20, messages: 20 },
        ...{ users: [], isFirst: true, isLast: true },
      });
      if (told(effects, 1).length > 0) answeredMs = ms;
    }
  }
  assert(answeredMs >= LACK_WAIT_MS, `taken after ${answeredMs} ms`);
});

Deno.test("mesh peers: presence comes in parts that belong together, of so many users", () => {
  const part = (more: object): PeerMessage => ({
    kind: "presence",
    origin: { id: "B", generation: START_MS },
    ...{ n: 20, messages: 0, users: [], isFirst: false, isLast: false },
    ...more,
  } as PeerMessage);
  const users = (count: number) =>
    Array.from({ length: count }, (_, at) => ({
      ...{ name: `u${at}`, since: 1, rooms: [] },
    }));
  const wrong = [
    [part({})],
    [part({ isFirst: true }), part({ isFirst: true })],
    [part({ isFirst: true }), part({ n: 21 })],
    [part({ isFirst: true }), part({ origin: { id: "C", generation: 1 } })],
  ];
  for (const parts of wrong) {
    const server = linked();
    const effects = parts.flatMap((one) => server.hear(1, one));
    assertEquals(closed(effects), [[1, "invalid-message"]]);
  }
  const server = linked();
  server.hear(1, part({ isFirst: true, users: users(USERS_PER_SERVER_MAX) }));
  assertEquals(closed(server.hear(1, part({ users: users(1) }))), [
    [1, "too-large"],
  ]);
});

Deno.test("mesh peers: a beat is sent only where something is new", () => {
  const server = linked();
  for (let ms = 0; ms < 1_000; ms += 250) server.wait(250);
  for (let ms = 0; ms < 5_000; ms += 250) {
    assertEquals(sent(server.wait(250)), []);
  }
});

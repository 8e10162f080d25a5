/** Bad input: a clear error for whoever sent it, and nothing for anybody else. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { encodeFrame, FRAME, PREFACE } from "../../../protocol/frame.ts";
import { WireError } from "../../../protocol/errors.ts";
import { formatMeshEvent } from "../../../protocol/mesh_event.ts";
import type { MeshEvent } from "../../../protocol/mesh_peer.ts";
import { MeshFleet } from "./mesh_fleet.ts";
import { Person } from "./person.ts";
import { RawMesh } from "./raw_mesh.ts";

/** Two servers, and two people who go on talking whatever somebody else does. */
class Scene implements AsyncDisposable {
  readonly fleet: MeshFleet;
  readonly dana: Person;
  readonly ahmad: Person;
  #said = 0;

  private constructor(fleet: MeshFleet, dana: Person, ahmad: Person) {
    this.fleet = fleet;
    this.dana = dana;
    this.ahmad = ahmad;
  }

  static async open(): Promise<Scene> {
    const fleet = await MeshFleet.start({ ids: ["A", "B"] });
    try {
      const dana = await fleet.server("A").login("Dana");
      const ahmad = await fleet.server("B").login("Ahmad");
      return new Scene(fleet, dana, ahmad);
    } catch (error) {
      await fleet[Symbol.asyncDispose]();
      throw error;
    }
  }

  get a() {
    return this.fleet.server("A");
  }

  /** Both servers live, and both people hear each other and nobody else. */
  async assertUnharmed(): Promise<void> {
    this.#said += 1;
    await this.dana.say(`Dana ${this.#said}`);
    await this.ahmad.heard(`Dana ${this.#said}`);
    await this.ahmad.say(`Ahmad ${this.#said}`);
    await this.dana.heard(`Ahmad ${this.#said}`);
    const expected = Array.from(
      { length: this.#said },
      (_, at) => [`Dana ${at + 1}`, `Ahmad ${at + 1}`],
    ).flat();
    assertEquals(this.dana.texts, expected);
    assertEquals(this.ahmad.texts, expected);
    assertEquals(this.dana.said("error"), []);
    assertEquals(this.dana.said("system").length, 1);
    assertEquals(this.fleet.servers.map(({ mishap }) => mishap), [
      ...[undefined, undefined],
    ]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.fleet[Symbol.asyncDispose]();
  }
}

const LONG = "x".repeat(70_000);

/** What is sent, logged in or not, and what the error says. */
const LINES: readonly (readonly [
  what: string,
  bytes: string | Uint8Array,
  error: RegExp,
])[] = [
  ["no JSON", "hello\n", /JSON/],
  ["half a JSON", '{"type":"msg"\n', /JSON/],
  ["no object", "[1]\n", /object|type|request/i],
  ["not UTF-8", Uint8Array.of(0x7b, 0x22, 0xff, 0x0a), /UTF-8/],
  ["the first bytes of TLS", Uint8Array.of(0x16, 3, 1, 2, 0, 1, 10), /TLS/],
  ["an unknown type", '{"type":"shout","text":"x"}\n', /shout|type/],
  ["no type", '{"text":"x"}\n', /type/],
  ["a line too long", `{"type":"msg","text":"${LONG}"}\n`, /limit|65.?536/],
  [
    "a line too long that never ends",
    `{"type":"msg","text":"${LONG}`,
    /limit|65.?536/,
  ],
  [
    "a text too long",
    `{"type":"msg","text":"${"x".repeat(20_000)}"}\n`,
    /limit|16.?384/,
  ],
  ["a text that is none", '{"type":"msg","text":5}\n', /text/],
  [
    "a name of 10,000 characters",
    `{"type":"login","username":"${"x".repeat(10_000)}"}\n`,
    /name|character/,
  ],
  [
    "a name with control characters",
    '{"type":"login","username":"Da\\u0007na\\n"}\n',
    /name|character/,
  ],
  ["no name", '{"type":"login"}\n', /username/],
];

Deno.test("mesh bad input: lines that are wrong are refused to whoever sent them", async (t) => {
  await using scene = await Scene.open();
  for (const [what, bytes, error] of LINES) {
    await t.step(what, async () => {
      const stranger = await scene.a.connect();
      await stranger.write(bytes);
      const line = await stranger.line(/"type":"error"/);
      assertMatch(JSON.parse(line).text, error);
      assert(line.length < 1_000, "it does not repeat what was sent");
      await scene.assertUnharmed();
    });
  }
  await t.step("after most mistakes one may go on", async () => {
    const clumsy = await scene.a.connect();
    await clumsy.write('hello\n{"type":"shout"}\n{"type":"msg","text":"x"}\n');
    await clumsy.until("three errors", () => clumsy.lines.length === 3);
    await clumsy.send({ type: "login", username: "Clumsy" });
    await clumsy.line(/Welcome Clumsy/);
    await clumsy.send({ type: "login", username: "Other" });
    await clumsy.line(/"type":"error"/, 4);
    await clumsy.send({ type: "quit" });
    await clumsy.closed();
    await scene.assertUnharmed();
  });
});

Deno.test("mesh bad input: a message cannot forge a line of the log", async () => {
  await using scene = await Scene.open();
  const { fleet, dana } = scene;
  const evil =
    '"}\n{"seq":99,"time":"2026-01-01T00:00:00.000Z","server":"B","type":"msg"}\u2028\u0085\u001b[2J\u202e';
  const eve = await scene.a.login("Eve");
  const answer = await eve.ask({ type: "msg", text: evil });
  await dana.say("after it");
  await fleet.logged("the next message", ({ text }) => text === "after it");
  fleet.checkSequence();
  const said = fleet.log().filter(({ from }) => from === "Eve")
    .filter(({ type }) => type === "msg").map(({ text }) => text);
  // It is refused, or it is there as it was said.
  assertEquals(said, answer.type === "ok" ? [evil] : []);
});

Deno.test("mesh bad input: one client's crowd of half a request is no trouble to others", async () => {
  await using scene = await Scene.open();
  const crowd: Person[] = [];
  for (let n = 0; n < 100; n++) {
    const one = await scene.a.connect();
    await one.write('{"type":"login","userna');
    crowd.push(one);
  }
  await scene.assertUnharmed();
  for (const one of crowd) await one[Symbol.asyncDispose]();
  await scene.assertUnharmed();
});

/** A message that X claims to have come from an origin. */
function forged(
  origin: string,
  options: { readonly via: readonly string[]; readonly n?: number },
) {
  const { via, n = 1 } = options;
  const event: MeshEvent = {
    origin: { id: origin, generation: 1 },
    ...{ n, messages: n, time: 1_732_199_912_000 },
    body: { kind: "msg", from: "Eve", text: "forged" },
  };
  return {
    kind: "events" as const,
    events: [{ via, event, json: formatMeshEvent(event) }],
  };
}

Deno.test("mesh bad input: what is wrong between servers ends that link alone", async (t) => {
  await using scene = await Scene.open();
  const { a } = scene;
  const text = (words: string) => new TextEncoder().encode(words);
  const frames: readonly (readonly [string, Uint8Array])[] = [
    ["a frame of another service", encodeFrame(FRAME.chainData)],
    ["a kind that there is not", encodeFrame(250)],
    ["events that are no JSON", encodeFrame(FRAME.meshEvents, text("X {\n"))],
    ["events without an end", encodeFrame(FRAME.meshEvents, text("X {}"))],
    ["a beat with wrong fields", encodeFrame(FRAME.meshBeat, text("{}"))],
    [
      "a second hello",
      encodeFrame(
        FRAME.meshHello,
        text('{"generation":1,"known":0}'),
      ),
    ],
    [
      "a frame above its bound",
      Uint8Array.of(0x00, 0x10, 0x00, 0x00, FRAME.meshBeat),
    ],
  ];
  for (const [what, frame] of frames) {
    await t.step(what, async () => {
      await using raw = await RawMesh.join(a.address, { id: "X" });
      raw.write(frame);
      const error = await raw.farewell();
      assert(["invalid-message", "too-large"].includes(error.code), error.code);
      await scene.assertUnharmed();
    });
  }
  await t.step("a message before hello", async () => {
    await using raw = await RawMesh.greet(a.address, { id: "X" });
    raw.send(forged("X", { via: ["X"] }));
    assertEquals((await raw.farewell()).code, "invalid-message");
    await scene.assertUnharmed();
  });
  await t.step("a server of another cluster", async () => {
    const error = await refusal(a.address, { id: "X", cluster: "other" });
    assertEquals(error.code, "cluster-mismatch");
    await scene.assertUnharmed();
  });
  await t.step("a node of another service", async () => {
    const error = await refusal(a.address, { id: "X", role: "chain" });
    assertEquals(error.code, "role-mismatch");
    await scene.assertUnharmed();
  });
  await t.step("a preface and nothing behind it", async () => {
    const stranger = await a.connect();
    await stranger.write(PREFACE);
    await scene.assertUnharmed();
    await stranger[Symbol.asyncDispose]();
  });
});

Deno.test("mesh bad input: a server that claims another's id changes nothing for that one", async (t) => {
  await using scene = await Scene.open();
  const { a, fleet } = scene;
  await t.step("the id of the server that it comes to", async () => {
    await using raw = await RawMesh.greet(a.address, { id: "A" });
    const error = await raw.farewell();
    assertEquals(error.code, "id-taken");
    await scene.assertUnharmed();
  });
  await t.step("the id of a server that is linked", async () => {
    await using raw = await RawMesh.greet(a.address, { id: "B" });
    raw.send({ kind: "hello", generation: 1, known: 0 });
    const error = await raw.farewell();
    assertEquals(error.code, "id-taken", error.message);
    await scene.assertUnharmed();
    await fleet.whole();
  });
  await t.step("messages in the name of one that is linked", async () => {
    await using raw = await RawMesh.join(a.address, { id: "X" });
    raw.send(forged("B", { via: ["B", "X"] }));
    raw.send(forged("A", { via: ["A", "X"] }));
    await scene.assertUnharmed();
  });
  await t.step("messages that do not say that they came from it", async () => {
    await using raw = await RawMesh.join(a.address, { id: "X" });
    raw.send(forged("Y", { via: ["Y"] }));
    const error = await raw.farewell();
    assertEquals(error.code, "invalid-message");
    await scene.assertUnharmed();
  });
});

Deno.test("mesh bad input: an address that is none, or leads elsewhere, is not dialled", async () => {
  await using scene = await Scene.open();
  const { a, fleet } = scene;
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  let hasDialed = false;
  listener.accept().then((conn) => {
    hasDialed = true;
    conn.close();
  }, () => {
    // Closed at the end of the test, without anybody having come.
  });
  await using x = await RawMesh.join(a.address, { id: "X" });
  // They are known through X alone: where a server is said to be is tried, as
  // any server's place is that others reach. They are looked at by id.
  const { port } = listener.addr;
  const wrong = ["no address at all", "127.0.0.1:0", "\u001b[2J:1"];
  const others = [...wrong, `127.0.0.1:${port}`].map((address, at) => ({
    id: `Y${at}`,
    address,
  }));
  const state = { version: 2, clients: 0, draining: false, generation: 1 };
  x.send({
    kind: "beat",
    servers: [
      {
        ...{ ...state, id: "X" },
        neighbours: ["A", ...others.map(({ id }) => id)],
      },
      ...others.map((other) => ({ ...state, ...other, neighbours: ["X"] })),
    ],
    seen: [],
    topology: { topology: "mesh", version: 0, by: "X" },
  });
  await fleet.until("A has tried the last one", () => hasDialed);
  await scene.assertUnharmed();
});

Deno.test("mesh bad input: a message that goes in a circle is dropped", async () => {
  await using scene = await Scene.open();
  const { a } = scene;
  await using raw = await RawMesh.join(a.address, { id: "X" });
  await scene.fleet.until("A sees X", async () => (await a.up()).includes("X"));
  const before = await a.metric("skein_mesh_loops_total");
  raw.send(forged("X", { via: ["X", "A", "X"] }));
  await scene.fleet.until("it is counted", async () => {
    return await a.metric("skein_mesh_loops_total") > before;
  });
  assertEquals(
    raw.events.filter(({ event }) => event.origin.id === "X"),
    [],
  );
});

async function refusal(
  address: string,
  options: Parameters<typeof RawMesh.greet>[1],
): Promise<WireError> {
  try {
    await using _ = await RawMesh.greet(address, options);
  } catch (error) {
    if (error instanceof WireError) return error;
    throw error;
  }
  throw new Error(`${address} has let ${JSON.stringify(options)} in`);
}

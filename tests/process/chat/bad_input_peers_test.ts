import { assert, assertEquals, assertMatch } from "@std/assert";
import { WireError } from "../../../protocol/errors.ts";
import { encodeFrame, FRAME, PREFACE } from "../../../protocol/frame.ts";
import { ChatBystander } from "./chat_bystander.ts";
import type { ChatNode } from "./chat_node.ts";
import {
  append,
  epochBytes,
  FAR,
  forward,
  headerOf,
  join,
  LOW,
  NEAR,
  viewOf,
} from "./raw_frames.ts";
import {
  type Farewell,
  greetingOf,
  jsonFrame,
  RawPeer,
  STRANGER_HELLO,
} from "./raw_peer.ts";
import { FORGED } from "./traces.ts";

const KEY = "the key of this group";
const STORE = STRANGER_HELLO.store;

/** More connections than a replica port takes: `CONNECTIONS_MAX` is 80. */
const CROWD = 120;

const encode = (text: string) => new TextEncoder().encode(text);
const talk = (kind: string, fields: Readonly<Record<string, unknown>>) =>
  jsonFrame(FRAME.replicaTalk, { kind, ...fields });

interface Case {
  readonly what: string;
  readonly send: readonly Uint8Array[];
  readonly code: string;
  readonly text: RegExp;
}

/** What is written right after the connection stands, and what comes back as frames. */
const UNGREETED: readonly Case[] = [
  {
    what: "a wrong preface",
    send: [Uint8Array.of(0xfe, 0x53, 0x4b, 0)],
    code: "not-skein",
    text: /preface/,
  },
  {
    what: "another protocol version",
    send: [PREFACE, greetingOf({ versions: [2, 65_535] })],
    code: "version-mismatch",
    text: /speaks protocol version 2, 65535, this node speaks 1$/,
  },
  {
    what: "another cluster's name",
    send: [PREFACE, greetingOf({ cluster: "other" })],
    code: "cluster-mismatch",
    text: /cluster "other", this node to "skein"$/,
  },
  {
    what: "the role of a chain's node",
    send: [PREFACE, greetingOf({ role: "chain" })],
    code: "role-mismatch",
    text: /role "chain", wanted chat or witness or client$/,
  },
  {
    what: "no key",
    send: [PREFACE, greetingOf({ keyed: false })],
    code: "key-required",
    text: /key/,
  },
  {
    what: "a proof of another key",
    send: [
      PREFACE,
      greetingOf({}),
      jsonFrame(FRAME.proof, { proof: "0".repeat(64) }),
    ],
    code: "wrong-key",
    text: /key/,
  },
  {
    what: "a name that forges a line",
    send: [PREFACE, greetingOf({ id: `x\n${FORGED}` })],
    code: "invalid-message",
    text: /wrong fields$/,
  },
  {
    what: "a greeting above its bound",
    send: [PREFACE, headerOf(1, 5_000)],
    code: "too-large",
    text: /length is 5005 bytes, limit is 4096$/,
  },
  {
    what: "messages before the handshake",
    send: [PREFACE, talk("prepare", { epoch: NEAR })],
    code: "invalid-message",
    text: /kind 39, wanted 1$/,
  },
  {
    what: "a greeting that is not JSON",
    send: [PREFACE, encodeFrame(FRAME.hello, encode("{"))],
    code: "invalid-message",
    text: /not JSON$/,
  },
];

/** What is written after the handshake, in the place of a hello. */
const UNKNOWN: readonly Case[] = [
  {
    what: "another frame",
    send: [talk("prepare", { epoch: NEAR })],
    code: "invalid-message",
    text: /kind 39, wanted 32$/,
  },
  {
    what: "a hello without a store",
    send: [jsonFrame(FRAME.replicaHello, { kind: "server" })],
    code: "invalid-message",
    text: /wrong fields/,
  },
  {
    what: "a hello of a witness in the role of a server",
    send: [jsonFrame(FRAME.replicaHello, {
      ...STRANGER_HELLO,
      kind: "witness",
    })],
    code: "role-mismatch",
    text: /"stranger" is a witness in the role "chat", wanted a server$/,
  },
  {
    what: "a frame above the bound",
    send: [headerOf(FRAME.replicaHello, 262_140)],
    code: "too-large",
    text: /length is 262145 bytes, limit is 262144$/,
  },
  {
    what: "a question for a piece of no snapshot",
    send: [
      jsonFrame(FRAME.snapshotAsk, {}),
      encodeFrame(FRAME.snapshotGet, new Uint8Array(12).fill(0xff)),
    ],
    code: "no-snapshot",
    text: /no snapshot yet$/,
  },
];

/** What is written by a node that is linked. */
const LINKED: readonly Case[] = [
  {
    what: "an empty frame",
    send: [Uint8Array.of(0, 0, 0, 0)],
    code: "invalid-message",
    text: /length is 4 bytes, at least 5 are needed$/,
  },
  {
    what: "a frame above the bound",
    send: [headerOf(FRAME.replicaAppend, 0xffff_fff0)],
    code: "too-large",
    text: /length is \d+ bytes, limit is 262144$/,
  },
  {
    what: "a frame of no known kind",
    send: [encodeFrame(200, encode("?"))],
    code: "invalid-message",
    text: /frame of kind 200/,
  },
  {
    what: "a frame of the chain",
    send: [encodeFrame(FRAME.chainData, new Uint8Array(64))],
    code: "invalid-message",
    text: /frame of kind 16/,
  },
  {
    what: "a second hello",
    send: [jsonFrame(FRAME.replicaHello, STRANGER_HELLO)],
    code: "invalid-message",
    text: /frame of kind 32/,
  },
  {
    what: "text in the place of frames",
    send: [encode('{"type":"ping"}\n')],
    code: "too-large",
    text: /limit is 262144$/,
  },
  {
    what: "an append that ends early",
    send: [encodeFrame(FRAME.replicaAppend, new Uint8Array(30))],
    code: "invalid-message",
    text: /append: its length is 30 bytes, more are needed$/,
  },
  {
    what: "an append at index 2^53",
    send: [append({ index: 2 ** 53 })],
    code: "invalid-message",
    text: /upper half is 2097152, limit is 2097151$/,
  },
  {
    what: "an append behind index 2^53 - 1",
    send: [append({ index: 2 ** 53 - 1 })],
    code: "invalid-message",
    text: /1 follow index 9007199254740991$/,
  },
  {
    what: "an append of 4 thousand million entries",
    send: [append({ count: 0xffff_ffff })],
    code: "invalid-message",
    text: /do not add up$/,
  },
  {
    what: "an append of two entries that has one",
    send: [append({ count: 2 })],
    code: "invalid-message",
    text: /do not add up$/,
  },
  {
    what: "an append of a command above its bound",
    send: [append({ commandBytes: 131_073 })],
    code: "too-large",
    text: /length is 131073 bytes, limit is 131072$/,
  },
  {
    what: "an append whose entries go back in epochs",
    send: [append({ epochs: [NEAR, LOW], count: 2 })],
    code: "invalid-message",
    text: /epoch 2\.5a5a .* epoch 3\.5a5a/,
  },
  {
    what: "an append with an entry of an epoch to come",
    send: [append({ epoch: LOW, epochs: [NEAR] })],
    code: "invalid-message",
    text: /epoch 3\.5a5a .* epoch 2\.5a5a/,
  },
  {
    what: "an append of an epoch far away",
    send: [append({ epoch: FAR })],
    code: "invalid-message",
    text: /epoch counter is 4503599627370496, limit is \d+$/,
  },
  {
    what: "a heartbeat of an epoch far away",
    send: [encodeFrame(
      FRAME.replicaHeartbeat,
      join(epochBytes(FAR), new Uint8Array(17)),
    )],
    code: "invalid-message",
    text: /epoch counter is 4503599627370496, limit is \d+$/,
  },
  {
    what: "an acknowledgement beyond 2^53",
    send: [encodeFrame(
      FRAME.replicaAppended,
      join(epochBytes(NEAR), new Uint8Array(8).fill(0xff)),
    )],
    code: "invalid-message",
    text: /upper half is 4294967295/,
  },
  ...[
    talk("prepare", { epoch: FAR }),
    talk("accepted", { epoch: FAR }),
    talk("refuse", { epoch: NEAR, promised: FAR }),
    talk("pre-vote-answer", { round: 1, granted: false, promised: FAR }),
    talk("promise", {
      epoch: NEAR,
      last: { index: 1, epoch: FAR },
      isDraining: false,
      isDamaged: false,
    }),
    talk("mismatch", {
      epoch: NEAR,
      previous: { index: 1, epoch: LOW },
      hint: { index: 1, epoch: FAR },
    }),
    talk("active", { view: viewOf({ epoch: FAR }) }),
    talk("accept", { view: viewOf({ epoch: FAR }) }),
  ].map((frame, at) => ({
    what: `an epoch far away in other words, ${at + 1}`,
    send: [frame],
    code: "invalid-message",
    text: /epoch counter is 4503599627370496, limit is \d+$/,
  })),
  {
    what: "a view of 10,000 voters",
    send: [talk("accept", {
      view: viewOf({
        voters: Array.from(
          { length: 10_000 },
          (_, at) => at.toString(16).padStart(16, "0"),
        ),
      }),
    })],
    code: "invalid-message",
    text: /accept: "view\.voters" must not have more than 32 items$/,
  },
  {
    what: "a view without members",
    send: [talk("active", { view: viewOf({ members: [] }) })],
    code: "invalid-message",
    text: /active: "view\.members" must not have fewer than 1 items$/,
  },
  {
    what: "a view of voters in disorder",
    send: [talk("active", {
      view: viewOf({ voters: ["ffffffffffffffff", STORE] }),
    })],
    code: "invalid-message",
    text: /voters are not sorted/,
  },
  {
    what: "a view whose primary is no member",
    send: [talk("accept", { view: viewOf({ primary: "0".repeat(16) }) })],
    code: "invalid-message",
    text: /primary is no member$/,
  },
  {
    what: "a promise beyond 2^53",
    send: [talk("promise", {
      epoch: NEAR,
      last: { index: 2 ** 53, epoch: LOW },
      isDraining: false,
      isDamaged: false,
    })],
    code: "invalid-message",
    text: /promise: "last\.index" must be <= 9007199254740991$/,
  },
  {
    what: "brackets without end",
    send: [encodeFrame(FRAME.replicaTalk, encode("[".repeat(100_000)))],
    code: "invalid-message",
    text: /not JSON$/,
  },
  {
    what: "words that are not UTF-8",
    send: [encodeFrame(FRAME.replicaTalk, Uint8Array.of(0xff))],
    code: "invalid-utf8",
    text: /not UTF-8$/,
  },
  {
    what: "words of no known kind",
    send: [talk("constructor", {})],
    code: "invalid-message",
    text: /its kind is none of pre-vote, /,
  },
];

Deno.test("chat bad input: what comes in at the replica port is refused with its reason, and harms nobody", async (t) => {
  const keyed = { environment: { SKEIN_KEY: KEY } };
  await using chat = await ChatBystander.start({
    witnesses: 1,
    nodes: { a: keyed, b: keyed, c: keyed, w1: keyed },
  });
  const { fleet } = chat;
  const [a, b, c] = fleet.servers;
  const [w1] = fleet.witnesses;
  const target = (node: ChatNode) => node.place.address;
  const shy = await silentOnes(target(a));

  for (const { what, send, code, text } of UNGREETED) {
    await t.step(`before the handshake: ${what}`, async () => {
      await using peer = await RawPeer.connect(target(a));
      await peer.write(...send);
      assertFarewell(await peer.farewell(), { code, text });
      await chat.more(1);
    });
  }
  await t.step("a handshake with another key, or none", async () => {
    for (const key of ["the key of another group", undefined]) {
      try {
        const options = key === undefined ? {} : { key };
        await using _ = await RawPeer.greet(target(b), options);
        throw new Error("It was let in");
      } catch (error) {
        assert(error instanceof WireError, String(error));
        assertEquals(
          error.code,
          key === undefined ? "key-required" : "wrong-key",
        );
      }
    }
  });
  await t.step("a person's lines, HTTP and TLS", async () => {
    for (
      const words of [
        '{"type":"login","user":"x","password":"12345678"}\n',
        "GET / HTTP/1.1\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "\0",
      ]
    ) {
      await using peer = await RawPeer.connect(target(c));
      await peer.write(encode(words));
      assertMatch(await peer.farewellText(), /^error 0 lines-refused .*\n$/);
    }
  });
  for (const { what, send, code, text } of UNKNOWN) {
    await t.step(`in the place of a hello: ${what}`, async () => {
      await using peer = await RawPeer.greet(target(b), { key: KEY });
      await peer.write(...send);
      assertFarewell(await peer.farewell(), { code, text });
      await chat.more(1);
    });
  }
  await t.step("the id, or the data, of a node that lives", async () => {
    const store = (await b.status())?.store ?? "";
    for (
      const [to, as, hello, text] of [
        [target(a), { id: "a" }, {}, /The node id "a" is this node's$/],
        [target(c), { id: "b" }, {}, /The node id "b" is in use by another/],
        [target(w1), { id: "b" }, {}, /The node id "b" is in use by another/],
        [target(b), {}, { store }, /is a copy of that of "b"/],
        [target(c), {}, { store }, /data directory of "stranger" is in use/],
      ] as const
    ) {
      await using peer = await RawPeer.greet(to, { as, key: KEY, hello });
      assertFarewell(await peer.farewell(), { code: "id-taken", text });
    }
  });
  await t.step(
    "a second process with a living node's id, or with its data directory",
    async () => {
      for (
        const [options, text] of [
          [keyed, /group refuses this node: .*\bid "a" is in use by another/],
          [{ ...keyed, data: a.place.data }, /in use by process \d+/],
        ] as const
      ) {
        const second = fleet.extra("a", options);
        const { exit, text: said } = await second.refusal();
        assertEquals(exit.code, 1, second.describe());
        assertMatch(said, text);
      }
    },
  );
  for (const { what, send, code, text } of LINKED) {
    await t.step(`from a linked node: ${what}`, async () => {
      for (const node of [a, c, w1]) {
        await using peer = await linked(node);
        await peer.write(...send);
        assertFarewell(await peer.farewell(), { code, text });
      }
      await chat.more(1);
    });
  }
  await t.step(
    "from a linked node: errors that are none of its business",
    async () => {
      for (const node of [a, c, w1]) {
        for (const code of ["id-taken", "wrong-key", "shutting-down", "?"]) {
          await using peer = await linked(node);
          const text = `${FORGED}\n\x1b[2J{"level":"error"}\u202e`;
          await peer.write(jsonFrame(FRAME.error, { code, text }));
          assertEquals(await peer.farewell(), undefined);
        }
      }
      await chat.more();
    },
  );
  await t.step(
    "from a linked node: words that make sense, and numbers that make none",
    async () => {
      for (const node of [a, c, w1]) {
        await using peer = await linked(node);
        const end = 2 ** 53 - 1;
        await peer.write(
          talk("fetch", { from: 0, to: end }),
          talk("fetch", { from: end, to: 0 }),
          talk("read-index", { token: end }),
          talk("read-index-answer", { token: end, index: end }),
          talk("snapshot-needed", { epoch: NEAR, index: end }),
          talk("leaving", { reason: `${FORGED}\n\x1b[2J`, isForGood: false }),
          talk("unaware", { epoch: LOW }),
          talk("alive", {}),
          encodeFrame(FRAME.beat),
          encodeFrame(
            FRAME.replicaHeartbeat,
            join(epochBytes(LOW), new Uint8Array(17)),
          ),
          // Commands that are none are committed, and do nothing.
          forward([
            encode("{}"),
            encode("\0".repeat(1_000)),
            new Uint8Array(0),
          ]),
          ...Array.from(
            { length: 1_000 },
            () => talk("read-index", { token: 1 }),
          ),
          encodeFrame(201),
        );
        assertFarewell(await peer.farewell(), {
          code: "invalid-message",
          text: /frame of kind 201/,
        });
      }
      await chat.more();
    },
  );
  await t.step("from a linked node: random bytes", async () => {
    const kinds = [33, 34, 35, 36, 37, 38, 39, 48, 49, 50, 51];
    for (let round = 0; round < 60; round += 1) {
      await using peer = await linked(fleet.nodes[round % 4]);
      const payload = crypto.getRandomValues(new Uint8Array(10 + 7 * round));
      // What is read as numbers first is beyond all bounds.
      payload[0] = 0xff;
      await peer.write(encodeFrame(kinds[round % kinds.length], payload));
      const said = await peer.farewell();
      assert(said !== undefined, `round ${round}`);
    }
    await chat.more();
  });
  await t.step("more connections than a replica port takes", async () => {
    const crowd = await Promise.all(
      Array.from({ length: CROWD }, () => RawPeer.connect(target(b))),
    );
    const last = crowd[CROWD - 1];
    await last.write(PREFACE, greetingOf({}));
    assertFarewell(await last.farewell(), {
      code: "busy",
      text: /has 80 connections, which is its limit$/,
    });
    for (const peer of crowd) await peer[Symbol.asyncDispose]();
  });
  await t.step("who says nothing is sent away", async () => {
    assertFarewell(await shy.unknown.farewell(), {
      code: "timeout",
      text: /said nothing for 3000 ms$/,
    });
    assertEquals(await shy.mute.farewell(), undefined);
    assertEquals(await shy.halfway.farewell(), undefined);
    await a.process.line(/Handshake took longer than 5000 ms/);
    for (const peer of Object.values(shy)) await peer[Symbol.asyncDispose]();
  });
  await t.step("who was there all the time noticed nothing", async () => {
    const status = await c.status();
    assertEquals(status?.view?.voters, ["a", "b", "c", "w1"]);
    await chat.assertUnharmed();
  });
});

/** A stranger that has said hello, and was answered. */
async function linked(node: ChatNode): Promise<RawPeer> {
  const peer = await RawPeer.greet(node.place.address, { key: KEY, hello: {} });
  await peer.frame(FRAME.replicaHello);
  return peer;
}

async function silentOnes(address: string) {
  const halfway = await RawPeer.connect(address);
  await halfway.write(PREFACE, greetingOf({}));
  return {
    mute: await RawPeer.connect(address),
    halfway,
    unknown: await RawPeer.greet(address, { key: KEY }),
  };
}

function assertFarewell(
  said: Farewell | undefined,
  wanted: { readonly code: string; readonly text: RegExp },
): void {
  assertEquals(said?.code, wanted.code, said?.text);
  assertMatch(said?.text ?? "", wanted.text);
}

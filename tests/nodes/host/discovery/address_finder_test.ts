import {
  assertEquals,
  assertGreater,
  assertLess,
  assertMatch,
} from "@std/assert";
import { ADDRESSES_ASKED_MAX } from "../../../../nodes/host/discovery/address_finder.ts";
import { closeConn, dial } from "../../../../nodes/host/link.ts";
import { type Address, formatAddress } from "../../../../protocol/address.ts";
import { encodeDiscoverAsk } from "../../../../protocol/discovery_words.ts";
import { encodeFrame, FRAME } from "../../../../protocol/frame.ts";
import { readError } from "../../../../protocol/handshake.ts";
import { until } from "../../../process/until.ts";
import { advertOf, questionOf } from "../../../protocol/discovery_messages.ts";
import { bytesOf } from "../../../protocol/splits.ts";
import {
  framesOf,
  freePort,
  greeting,
  LISTEN,
  readToEnd,
  readUntil,
  roundTrips,
} from "../loopback.ts";
import { AnsweringDoor } from "./answering_door.ts";
import { KEY, OpenFinder } from "./lan.ts";

function finderAt(
  addresses: readonly Address[],
  changes: Partial<ConstructorParameters<typeof OpenFinder>[0]> = {},
): OpenFinder {
  return new OpenFinder({ where: { kind: "static", addresses }, ...changes });
}

Deno.test("address finder: a node that is listed is sighted, where it was reached", async () => {
  using door = new AnsweringDoor({ key: KEY });
  const { port } = door.address;
  // A name: what answers stands at one of its addresses.
  using asking = finderAt([{ host: "localhost", port }], { key: KEY });
  const sighting = await asking.asking("it", () => asking.sightings.at(0));
  const { advert, peers, clients, via } = sighting;
  assertEquals(advert.id, "server-1");
  assertEquals(peers, { host: "127.0.0.1", port: 8081 });
  assertEquals(clients, { host: "127.0.0.1", port: 8091 });
  assertEquals(via, `static localhost:${port}`);
  assertGreater(sighting.tookMs, 0);
  assertEquals(asking.log.lines, []);
});

Deno.test("address finder: those that answer are sighted, whatever becomes of the others", async () => {
  using one = new AnsweringDoor({ advert: { id: "one" } });
  using two = new AnsweringDoor({ advert: { id: "two" } });
  using silent = Deno.listen(LISTEN);
  const conns: Deno.Conn[] = [];
  const accepting = (async () => {
    for await (const conn of silent) conns.push(conn);
  })();
  const gone = { host: "127.0.0.1", port: freePort() };
  const stuck = { host: "127.0.0.1", port: silent.addr.port };
  using asking = finderAt([gone, stuck, one.address, two.address]);
  asking.finder.ask();
  await until("both", () => asking.names.length === 2);
  // The one that says nothing is given up, and then asked again.
  await until("two fail", () => asking.finder.counters.failed === 2);
  assertEquals(asking.finder.counters, {
    ...{ asked: 4, failed: 2, sighted: 2, refused: {} },
  });
  const before = conns.length;
  await asking.asking("again", () => conns.length > before);
  // Nobody has to mend anything.
  assertEquals(asking.log.lines, []);
  asking.finder.close();
  silent.close();
  await accepting;
  for (const conn of conns) closeConn(conn);
});

Deno.test("address finder: one that is being asked is not asked again meanwhile", async () => {
  using silent = Deno.listen(LISTEN);
  using asking = finderAt([{ host: "127.0.0.1", port: silent.addr.port }]);
  for (let i = 0; i < 50; i += 1) {
    asking.finder.ask();
    await roundTrips(1);
  }
  assertEquals(asking.finder.counters.asked, 1);
});

Deno.test("address finder: no more than 32 are asked at once", async () => {
  using stack = new DisposableStack();
  const addresses = Array.from({ length: ADDRESSES_ASKED_MAX + 8 }, () => {
    const { addr } = stack.use(Deno.listen(LISTEN));
    return { host: addr.hostname, port: addr.port };
  });
  using asking = finderAt(addresses);
  for (let i = 0; i < 3; i += 1) {
    asking.finder.ask();
    await roundTrips();
  }
  assertEquals(asking.finder.counters.asked, ADDRESSES_ASKED_MAX);
});

Deno.test("address finder: a refusal is said once, and again when it is another", async () => {
  const other = bytesOf("another sixteen bytes");
  const address = { host: "127.0.0.1", port: freePort() };
  const door = new AnsweringDoor({ key: other, listen: address });
  using asking = finderAt([address], { key: KEY });
  const { failed } = asking.finder.counters;
  await asking.asking(
    "3 times",
    () => asking.finder.counters.failed > failed + 2,
  );
  assertEquals(asking.log.lines.map(({ message }) => message), [
    `Cannot ask ${
      formatAddress(address)
    }: Peer does not have this cluster's key`,
  ]);
  door[Symbol.dispose]();
  using _lab = await listening({ key: KEY, cluster: "lab", listen: address });
  await asking.asking("another one", () => asking.log.lines.length === 2);
  assertMatch(asking.log.lines[1].message, /belongs to cluster "skein"/);
  assertEquals(asking.sightings, []);
});

Deno.test("address finder: a node that is asked hears of the node that asks", async () => {
  for (const key of [undefined, KEY]) {
    using door = new AnsweringDoor({ key });
    const own = advertOf({
      ...{ id: "asker", isOpen: key === undefined },
      peers: { port: 8_085 },
    });
    using asking = finderAt([door.address], { key, advert: () => own });
    await asking.asking("it is answered", () => asking.sightings.length > 0);
    assertEquals(door.askers[0].advert, own);
    assertEquals(door.askers[0].peers, { host: "127.0.0.1", port: 8_085 });
  }
});

Deno.test("address finder: of somebody else's node nothing is heard, nor of one that others could dial for a stranger", async () => {
  using door = new AnsweringDoor();
  for (
    const changes of [{ cluster: "lab" }, { service: "mesh" }, {}] as const
  ) {
    const own = advertOf({
      ...{ id: "asker", ...changes },
      peers: { host: "8.8.8.8", port: 8_085 },
    });
    using asking = finderAt([door.address], { advert: () => own });
    await asking.asking("it is answered", () => asking.sightings.length > 0);
  }
  // The last one, at the address that it came from.
  assertEquals(
    new Set(door.askers.map(({ peers }) => peers.host)),
    new Set([
      "127.0.0.1",
    ]),
  );
  assertEquals(
    new Set(
      door.askers.map(({ advert: { service, cluster } }) =>
        `${service} ${cluster}`
      ),
    ),
    new Set(["chat skein"]),
  );
});

Deno.test("address finder: the leader of another group hears of the node that asks, though nobody has listed it", async () => {
  const group = {
    ...{ id: "00000000000000a2", isVoid: true, isWorking: true },
    ...{ epoch: { counter: 1, store: "00000000000000a2" } },
    ...{ members: 2, voters: 2 },
  };
  using two = new AnsweringDoor({
    advert: {
      id: "two",
      group: { ...group, leader: { id: "two", priority: 0 } },
    },
  });
  const leader = { id: "two", priority: 0, clients: two.address };
  using one = new AnsweringDoor({
    advert: { id: "one", group: { ...group, leader } },
  });
  const own = advertOf({ id: "asker" });
  using asking = finderAt([one.address], { advert: () => own });
  await asking.asking("it hears", () => two.askers.length > 0);
  assertEquals(asking.names, ["one", "two"]);
  // Those of its own group are linked anyway.
  const { length } = two.askers;
  const member = advertOf({ id: "asker", group: { ...group, leader } });
  using joined = finderAt([one.address], { advert: () => member });
  await joined.asking("3 answers", () => joined.sightings.length >= 3);
  assertEquals(joined.names, ["one"]);
  assertEquals(
    two.askers.slice(length).filter(({ advert }) => advert.group !== undefined),
    [],
  );
});

/** A door at a port where connections of an earlier one may still close. */
async function listening(
  options: ConstructorParameters<typeof AnsweringDoor>[0],
): Promise<AnsweringDoor> {
  return await until("the port is free", () => {
    try {
      return new AnsweringDoor(options);
    } catch (error) {
      if (error instanceof Deno.errors.AddrInUse) return undefined;
      throw error;
    }
  });
}

Deno.test("address finder: a node of another service says that it is", async () => {
  using door = new AnsweringDoor();
  using asking = finderAt([door.address], { service: "mesh" });
  await asking.asking("it", () => asking.log.lines.length === 1);
  assertMatch(
    asking.log.lines[0].message,
    /: This node is of the service "chat", not "mesh"$/,
  );
  assertEquals(asking.sightings, []);
});

Deno.test("address finder: what is closed dials no more, and sights nothing", async () => {
  using silent = Deno.listen(LISTEN);
  using door = new AnsweringDoor();
  const stuck = { host: "127.0.0.1", port: silent.addr.port };
  const asking = finderAt([stuck, door.address]);
  asking.finder.ask();
  const conn = await silent.accept();
  asking.finder.close();
  const count = asking.sightings.length;
  // Broken off at once, not after its wait.
  const startMs = performance.now();
  await readToEnd(conn);
  assertLess(performance.now() - startMs, 900);
  closeConn(conn);
  asking.finder.ask();
  await roundTrips();
  assertEquals(asking.sightings.length, count);
  assertEquals(asking.finder.counters.asked, 2);
});

const CLIENT = greeting({ id: "asker", role: "client", accepts: ["chat"] });
const DIAL = { silentMsMax: 3_000 };

Deno.test("discovery at a port: it answers one question, and closes", async () => {
  using door = new AnsweringDoor();
  const { link, rest } = await dial(door.address, CLIENT, DIAL);
  assertEquals(rest.length, 0);
  const bytes = encodeDiscoverAsk(questionOf());
  // In two pieces, as a network may.
  await link.send(bytes.subarray(0, 10));
  await link.send(bytes.subarray(10));
  const answer = await readUntil(link, (read) => framesOf(read).length > 0);
  assertEquals(framesOf(answer)[0].kind, FRAME.discoverAnswer);
  assertEquals(await link.read(new Uint8Array(1)), null);
  link.abort();
  await until("it is served", () => door.served === 1);
});

Deno.test("discovery at a port: anything else is refused with its reason", async () => {
  using door = new AnsweringDoor();
  const cases: readonly (readonly [Uint8Array, string])[] = [
    [encodeFrame(FRAME.chainData, bytesOf("x")), "role-mismatch"],
    [encodeFrame(FRAME.discoverAsk, bytesOf("{}")), "invalid-message"],
    [encodeFrame(FRAME.discoverAsk, new Uint8Array(5_000)), "too-large"],
    [encodeDiscoverAsk(questionOf({ service: "edge" })), "role-mismatch"],
    [encodeDiscoverAsk(questionOf({ cluster: "lab" })), "cluster-mismatch"],
  ];
  for (const [index, [bytes, code]] of cases.entries()) {
    const { link } = await dial(door.address, CLIENT, DIAL);
    await link.send(bytes);
    const said = await readUntil(
      link,
      (read) => framesOf(read).some(({ kind }) => kind === FRAME.error),
    );
    const frame = framesOf(said).find(({ kind }) => kind === FRAME.error);
    assertEquals(readError(frame?.payload ?? new Uint8Array(0)).code, code);
    link.abort();
    await until("it is served", () => door.served === index + 1);
  }
});

Deno.test("discovery at a port: who says nothing is told so, and let go", async () => {
  using door = new AnsweringDoor();
  const { link } = await dial(door.address, CLIENT, DIAL);
  const said = await readUntil(
    link,
    (read) => framesOf(read).some(({ kind }) => kind === FRAME.error),
  );
  const frame = framesOf(said).find(({ kind }) => kind === FRAME.error);
  assertEquals(readError(frame?.payload ?? new Uint8Array(0)).code, "timeout");
  link.abort();
  await until("it is served", () => door.served === 1);
});

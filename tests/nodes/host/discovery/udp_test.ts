import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import { DISCOVER_UDP } from "../../../../nodes/host/discovery/discover_flags.ts";
import type { Sighting } from "../../../../nodes/host/discovery/finder.ts";
import { openFinder } from "../../../../nodes/host/discovery/open_finder.ts";
import { SOURCE_RATE } from "../../../../nodes/host/discovery/rate_limits.ts";
import {
  DATAGRAM_BYTES,
  DISCOVERY_GROUP,
  DISCOVERY_PORT,
} from "../../../../protocol/discovery.ts";
import {
  decodeDatagram,
  encodeAnswerDatagram,
  encodeQuestionDatagram,
} from "../../../../protocol/discovery_codec.ts";
import { ip, namespaceTests } from "../../../namespace.ts";
import { until } from "../../../process/until.ts";
import { advertOf, questionOf } from "../../../protocol/discovery_messages.ts";
import { bytesOf } from "../../../protocol/splits.ts";
import { KEY, OpenAnswerer, OpenFinder, RawSocket } from "./lan.ts";

namespaceTests({ file: import.meta.url }, () => {
  Deno.test("udp: a node that is asked is sighted, at the address it answers from", async () => {
    using answerer = new OpenAnswerer();
    using asking = new OpenFinder();
    const { advert, peers, clients, via, tookMs } = await asking.asking(
      "it is sighted",
      () => asking.sightings.at(0),
    );
    assertEquals(advert, advertOf());
    assertEquals(peers, { host: "127.0.0.1", port: 8081 });
    assertEquals(clients, { host: "127.0.0.1", port: 8091 });
    assertEquals(via, "udp 127.0.0.1");
    assert(tookMs >= 0 && tookMs < 10_000, `${tookMs} ms`);
    assertEquals(answerer.counters.failed, 0);
  });

  Deno.test("udp: a question goes out on three ways, and is answered once", async () => {
    using answerer = new OpenAnswerer();
    using listening = new RawSocket({ host: "0.0.0.0", port: DISCOVERY_PORT });
    await listening.join(DISCOVERY_GROUP, "127.0.0.1");
    using asking = new OpenFinder();
    asking.finder.ask();
    await listening.received(3);
    const [first, ...others] = listening.datagrams;
    for (const { bytes } of others) assertEquals(bytes, first.bytes);
    assertEquals(first.bytes.length, DATAGRAM_BYTES);
    await answerer.refused("repeated", 2);
    await until("it is sighted", () => asking.sightings.length === 1);
    assertEquals(answerer.counters.answered, 1);
    assertEquals(asking.finder.counters, {
      ...asking.finder.counters,
      ...{ asked: 3, failed: 0, sighted: 1 },
    });
  });

  Deno.test("udp: every answerer that shares the port answers", async () => {
    using _one = new OpenAnswerer({ advert: () => advertOf({ id: "one" }) });
    using two = new OpenAnswerer({ advert: () => advertOf({ id: "two" }) });
    using asking = new OpenFinder();
    await asking.asking("both are", () => asking.names.length === 2);
    assertEquals(asking.names, ["one", "two"]);
    two[Symbol.dispose]();
    const before = asking.sightings.length;
    await asking.asking("one is", () => asking.sightings.length > before + 2);
    const later = asking.sightings.slice(before);
    assertEquals(new Set(later.map(({ advert }) => advert.id)).size, 1);
  });

  Deno.test("udp: with another key, or none, nobody is found", async () => {
    using answerer = new OpenAnswerer({ key: KEY });
    using other = new OpenFinder({ key: bytesOf("another sixteen bytes") });
    other.finder.ask();
    await answerer.refused("mac", 3);
    using open = new OpenFinder();
    open.finder.ask();
    await answerer.refused("key-required", 3);
    using asking = new OpenFinder({ key: KEY });
    await asking.asking("the key's owner", () => asking.names.length === 1);
    assertEquals([other.names, open.names], [[], []]);
    // Each is said once, however often it happens.
    assertEquals(answerer.log.lines.length, 2);
  });

  Deno.test("udp: nodes of another cluster or service do not answer, unless all are asked", async () => {
    using answerer = new OpenAnswerer({
      cluster: "lab",
      advert: () => advertOf({ cluster: "lab" }),
    });
    using asking = new OpenFinder();
    asking.finder.ask();
    await answerer.refused("other-cluster", 3);
    using mesh = new OpenFinder({ service: "mesh", cluster: "lab" });
    mesh.finder.ask();
    await answerer.refused("other-service", 3);
    const sightings: Sighting[] = [];
    const all = openFinder({
      where: DISCOVER_UDP,
      onSighting: (sighting) => sightings.push(sighting),
      log: asking.log,
    });
    all.ask();
    await until("it is sighted", () => sightings.length === 1);
    all.close();
    assertEquals(sightings[0].advert.cluster, "lab");
    assertEquals([asking.names, mesh.names], [[], []]);
  });

  Deno.test("udp: a recorded question gets no second answer, from wherever it is sent", async () => {
    using answerer = new OpenAnswerer({ key: KEY });
    using asker = new RawSocket();
    using thief = new RawSocket({ host: "127.0.0.2" });
    const recorded = await asker.ask({}, KEY);
    await asker.received(1);
    await asker.send(recorded);
    await thief.send(recorded);
    await answerer.refused("repeated", 2);
    assertEquals([asker.names(KEY), thief.names(KEY)], [["server-1"], []]);
  });

  Deno.test("udp: with a key, a question from another time gets no answer, and the clock is named", async () => {
    using answerer = new OpenAnswerer({ key: KEY });
    using asker = new RawSocket();
    for (const time of [Date.now() - 61_000, Date.now() + 61_000]) {
      await asker.ask({ time }, KEY);
    }
    await answerer.refused("window", 2);
    assertEquals(answerer.counters.answered, 0);
    assertEquals(answerer.log.lines.map(({ message }) => message), [
      "Did not answer a question that is more than a minute old, or from the future: is a clock wrong?",
    ]);
    using open = new OpenAnswerer();
    using stray = new OpenFinder({ now: () => 0 });
    await stray.asking("whoever has no key", () => stray.names.length === 1);
    assertEquals(open.log.lines, []);
  });

  Deno.test("udp: broken datagrams are counted, and nothing else happens", async () => {
    using answerer = new OpenAnswerer({ key: KEY });
    using asker = new RawSocket();
    const question = questionOf({ keyed: true });
    const whole = encodeQuestionDatagram(question, KEY);
    const longer = new Uint8Array(DATAGRAM_BYTES + 1);
    longer.set(whole);
    const { nonce } = question;
    const answer = encodeAnswerDatagram(
      { nonce, time: 0, advert: advertOf() },
      KEY,
    );
    await asker.send(whole.subarray(0, 600));
    await answerer.refused("short");
    await asker.send(new Uint8Array(0));
    await answerer.refused("short", 2);
    await asker.send(longer);
    await answerer.refused("long");
    await asker.send(bytesOf("M-SEARCH * HTTP/1.1\r\n".repeat(10)));
    await answerer.refused("foreign");
    await asker.send(answer);
    await answerer.refused("answer");
    assertEquals([answerer.counters.answered, asker.datagrams], [0, []]);
    await asker.send(whole);
    await asker.received(1);
    assertEquals(asker.names(KEY), ["server-1"]);
    assertEquals(answerer.log.lines, []);
  });

  Deno.test("udp: no answer is longer than its question", async () => {
    const host = "h".repeat(253);
    const name = "n".repeat(64);
    using _answerer = new OpenAnswerer({
      advert: () =>
        advertOf({
          ...{ id: name, peers: { host, port: 1 }, clients: { host, port: 2 } },
          dissolved: Array(4).fill("00000000000000aa"),
        }),
    });
    using asker = new RawSocket();
    const asked = await asker.ask();
    await asker.received(1);
    const [{ bytes }] = asker.datagrams;
    assertLessOrEqual(bytes.length, asked.length);
    assertEquals(asker.names(), [name]);
  });

  Deno.test("udp: who asks too often gets what is allowed, and others are not touched", async () => {
    using answerer = new OpenAnswerer();
    using asker = new RawSocket();
    const startMs = performance.now();
    const count = 3 * SOURCE_RATE.burst;
    for (let sent = 1; sent <= count; sent += 1) {
      await asker.ask();
      // So few that the system has room for them.
      if (sent % 20 !== 0) continue;
      await until("all are read", () => answerer.counters.received === sent);
    }
    const tookMs = performance.now() - startMs;
    const { answered, refused } = answerer.counters;
    assertEquals(answered + refused.rate, count);
    const allowed = SOURCE_RATE.burst + tookMs * SOURCE_RATE.perSecond / 1_000;
    assertLessOrEqual(answered, allowed);
    assert(answered >= SOURCE_RATE.burst, `${answered} answers`);
    using other = new RawSocket({ host: "127.0.0.2" });
    await other.ask();
    await other.received(1);
  });

  Deno.test("udp: without a key, nobody at a public address is answered or believed", async () => {
    ip("address", "add", "8.8.8.8/32", "dev", "lo");
    using answerer = new OpenAnswerer();
    using keyed = new OpenAnswerer({ key: KEY });
    using stranger = new RawSocket({ host: "8.8.8.8" });
    await stranger.ask();
    await answerer.refused("not-private");
    await stranger.ask({}, KEY);
    await stranger.received(1);
    assertEquals(stranger.names(KEY), ["server-1"]);
    assertEquals(answerer.counters.answered, 0);

    using listening = new RawSocket({ host: "0.0.0.0", port: DISCOVERY_PORT });
    using asking = new OpenFinder();
    asking.finder.ask();
    await listening.received(1);
    const [{ bytes, from }] = listening.datagrams;
    const read = decodeDatagram(bytes, undefined);
    assert(read.kind === "question");
    const { nonce } = read.question;
    const answer = { nonce, time: 0, advert: advertOf({ id: "stranger" }) };
    await stranger.send(encodeAnswerDatagram(answer, undefined), from);
    await asking.refused("not-private");
    assertEquals(asking.names, ["server-1"]);
    assert(keyed.counters.answered > 0);
    ip("address", "delete", "8.8.8.8/32", "dev", "lo");
  });

  Deno.test("udp: an answer is taken once, to a question that was asked, from one with the key", async () => {
    using listening = new RawSocket({ host: "0.0.0.0", port: DISCOVERY_PORT });
    using asking = new OpenFinder({ key: KEY });
    asking.finder.ask();
    await listening.received(1);
    const [{ bytes, from }] = listening.datagrams;
    const read = decodeDatagram(bytes, KEY);
    assert(read.kind === "question");
    const { nonce } = read.question;
    const good = { nonce, time: Date.now(), advert: advertOf({ id: "good" }) };
    const other = { ...good, advert: advertOf({ id: "other" }) };
    const answer = encodeAnswerDatagram(good, KEY);
    await listening.send(
      encodeAnswerDatagram(other, bytesOf("another sixteen bytes")),
      from,
    );
    await asking.refused("mac");
    await listening.send(encodeAnswerDatagram(other, undefined), from);
    await asking.refused("mac", 2);
    await listening.send(bytes, from);
    await asking.refused("question");
    await listening.send(
      encodeAnswerDatagram({ ...other, nonce: "0".repeat(32) }, KEY),
      from,
    );
    await asking.refused("unasked");
    await listening.send(
      encodeAnswerDatagram({
        ...other,
        advert: advertOf({ id: "other", cluster: "lab" }),
      }, KEY),
      from,
    );
    await asking.refused("other-cluster");
    assertEquals(asking.sightings, []);
    await listening.send(answer, from);
    await until("it is sighted", () => asking.sightings.length === 1);
    await listening.send(answer, from);
    await asking.refused("repeated");
    // Recorded, and sent to another asker.
    using later = new OpenFinder({ key: KEY });
    const before = listening.datagrams.length;
    later.finder.ask();
    await listening.received(before + 1);
    await listening.send(answer, listening.datagrams[before].from);
    await later.refused("unasked");
    assertEquals([asking.names, later.names], [["good"], []]);
  });

  Deno.test("udp: a node that listens at its own loopback address is no use elsewhere", async () => {
    ip(...["link", "add", "v0", "type", "veth", "peer", "name", "v1"]);
    ip("address", "add", "10.9.0.1/24", "dev", "v0");
    ip("link", "set", "v0", "up");
    ip("link", "set", "v1", "up");
    const peers = { host: "127.0.0.1", port: 8081 };
    using _here = new OpenAnswerer({
      advert: () => advertOf({ id: "here", peers }),
    });
    using asking = new OpenFinder();
    await asking.asking("the one here", () => asking.names.length === 1);
    assertEquals(asking.sightings[0].peers, peers);

    using listening = new RawSocket({ host: "0.0.0.0", port: DISCOVERY_PORT });
    await asking.asking("a question", () => listening.datagrams.length > 0);
    const [{ bytes, from }] = listening.datagrams;
    const read = decodeDatagram(bytes, undefined);
    assert(read.kind === "question");
    const { nonce } = read.question;
    ip("address", "add", "10.9.0.2/24", "dev", "v0");
    using elsewhere = new RawSocket({ host: "10.9.0.2" });
    const advert = advertOf({ id: "elsewhere", peers });
    const answer = { nonce, time: 0, advert };
    await elsewhere.send(encodeAnswerDatagram(answer, undefined), from);
    await asking.refused("loopback-elsewhere");
    assertEquals(asking.names, ["here"]);
    ip("link", "delete", "v0");
  });

  Deno.test("udp: an interface that comes later is asked and heard, and one that goes does no harm", async () => {
    using _answerer = new OpenAnswerer();
    using asking = new OpenFinder();
    await asking.asking("at loopback", () => asking.sightings.length > 0);
    assertEquals(asking.sightings[0].peers.host, "127.0.0.1");
    ip(...["link", "add", "v0", "type", "veth", "peer", "name", "v1"]);
    ip("address", "add", "10.9.0.1/24", "dev", "v0");
    ip("link", "set", "v0", "up");
    ip("link", "set", "v1", "up");
    const isThere = () =>
      asking.sightings.find(({ peers }) => peers.host === "10.9.0.1");
    const { via } = await asking.asking("at the new address", isThere);
    assertEquals(via, "udp 10.9.0.1");
    // A better address stays, however fast loopback answers.
    const before = asking.sightings.length;
    await asking.asking("more", () => asking.sightings.length > before + 10);
    const hosts = asking.sightings.slice(before).map(({ peers }) => peers.host);
    assertEquals(new Set(hosts), new Set(["10.9.0.1"]));
    ip("link", "delete", "v0");
    await asking.asking(
      "at loopback again",
      () => asking.sightings.at(-1)?.peers.host === "127.0.0.1",
    );
  });

  Deno.test("udp: a finder that is closed sights nothing more", async () => {
    using answerer = new OpenAnswerer();
    using asking = new OpenFinder();
    asking.finder.ask();
    asking.finder.close();
    await until("it was asked", () => answerer.counters.received > 0);
    asking.finder.ask();
    using other = new OpenFinder();
    await other.asking("by others", () => other.names.length === 1);
    assertEquals(asking.sightings, []);
  });
});

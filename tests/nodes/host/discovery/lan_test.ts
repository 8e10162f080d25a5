import { assert, assertEquals, assertLess } from "@std/assert";
import { TOTAL_RATE } from "../../../../nodes/host/discovery/rate_limits.ts";
import { DATAGRAMS_PER_SECOND_MAX } from "../../../../nodes/host/discovery/datagram_reader.ts";
import { DISCOVERY_GROUP } from "../../../../protocol/discovery.ts";
import { encodeQuestionDatagram } from "../../../../protocol/discovery_codec.ts";
import { ip, namespaceTests } from "../../../namespace.ts";
import { until } from "../../../process/until.ts";
import { questionOf } from "../../../protocol/discovery_messages.ts";
import { AnswererProcess, OpenFinder, RawSocket } from "./lan.ts";

/** The flood: so many questions in a second, for so long, from so many addresses. */
const FLOOD = { perSecond: 10_000, seconds: 3, sources: 40 } as const;
const BATCH_MS = 10;

/** Of one processor, at most so much goes into a flood. */
const CPU_SHARE_MAX = 0.6;

namespaceTests({ file: import.meta.url }, () => {
  for (const count of [2, 9]) {
    Deno.test(`udp: ${count} answerers in processes of their own share the port, and all answer`, async () => {
      const names = Array.from({ length: count }, (_, at) => `server-${at}`);
      // Three in each, for want of processors.
      const processes: AnswererProcess[] = [];
      await using all = new AsyncDisposableStack();
      for (let at = 0; at < count; at += Math.ceil(count / 3)) {
        const some = names.slice(at, at + Math.ceil(count / 3));
        processes.push(all.use(new AnswererProcess(some)));
      }
      await Promise.all(processes.map((process) => process.ready()));
      using asking = new OpenFinder();
      asking.finder.ask();
      await asking.asking("all", () => asking.names.length === count);
      assertEquals(asking.names, names);
    });
  }

  Deno.test("udp: machines on one wire find each other, by broadcast or multicast alone", async () => {
    const name = `skein${Deno.pid}`;
    ip("netns", "add", name);
    try {
      ip(
        ...["link", "add", "v0", "type", "veth"],
        ...["peer", "name", "v0", "netns", name],
      );
      ip("address", "add", "10.9.0.1/24", "dev", "v0");
      ip("link", "set", "v0", "up");
      ip("-n", name, "address", "add", "10.9.0.2/24", "dev", "v0");
      ip("-n", name, "link", "set", "v0", "up");
      const under = ["ip", "netns", "exec", name];
      await using other = new AnswererProcess(["other"], under);
      await other.ready();
      using asking = new OpenFinder();
      await asking.asking("the other", () => asking.names.length === 1);
      assertEquals(asking.sightings[0].peers, { host: "10.9.0.2", port: 8081 });
      for (
        const host of ["255.255.255.255", "10.9.0.255", DISCOVERY_GROUP]
      ) {
        using asker = new RawSocket({ host: "10.9.0.1" });
        const bytes = encodeQuestionDatagram(questionOf(), undefined);
        await asker.send(bytes, { host, port: 8090 });
        await asker.received(1);
        assertEquals(asker.names(), ["other"], host);
      }
    } finally {
      ip("netns", "delete", name);
    }
  });

  Deno.test("udp: multicast alone is heard on an interface that came later, and came back", async () => {
    await using answerer = new AnswererProcess(["server-1"]);
    await answerer.ready();
    for (let i = 0; i < 2; i += 1) {
      ip(...["link", "add", "v0", "type", "veth", "peer", "name", "v1"]);
      ip("address", "add", "10.9.0.1/24", "dev", "v0");
      ip("link", "set", "v0", "up");
      ip("link", "set", "v1", "up");
      using asker = new RawSocket({ host: "10.9.0.1" });
      await until("it is answered", async () => {
        const bytes = encodeQuestionDatagram(questionOf(), undefined);
        await asker.send(bytes, { host: DISCOVERY_GROUP, port: 8090 });
        return asker.datagrams.length > 0;
      });
      await asker.closed();
      ip("link", "delete", "v0");
    }
  });

  Deno.test("udp: a flood of 10,000 questions a second is borne, and afterwards everybody is answered", async () => {
    await using answerer = new AnswererProcess(["server-1"]);
    await answerer.ready();
    using before = new OpenFinder();
    await before.asking("before", () => before.names.length === 1);
    const sockets = Array.from(
      { length: FLOOD.sources },
      (_, at) => new RawSocket({ host: `127.0.1.${at + 1}` }),
    );
    const questions = Array.from(
      { length: FLOOD.perSecond * FLOOD.seconds },
      () => encodeQuestionDatagram(questionOf(), undefined),
    );
    const cpuBeforeMs = answerer.cpuMs();
    const startMs = performance.now();
    let sent = 0;
    while (sent < questions.length) {
      const dueMs = performance.now() - startMs;
      const due = Math.min(
        Math.ceil(dueMs * FLOOD.perSecond / 1_000),
        questions.length,
      );
      const sending: Promise<void>[] = [];
      for (; sent < due; sent += 1) {
        const socket = sockets[sent % sockets.length];
        sending.push(socket.send(questions[sent]));
      }
      await Promise.all(sending);
      await new Promise((resolve) => setTimeout(resolve, BATCH_MS));
    }
    const seconds = (performance.now() - startMs) / 1_000;
    const cpuShare = (answerer.cpuMs() - cpuBeforeMs) / 1_000 / seconds;
    const { received, answered, refused, pauses } = await answerer.counters();
    const said = `${sent} questions in ${seconds.toFixed(2)} s: ` +
      `${received} read, ${answered} answered, ${refused.rate} over the rate, ` +
      `${(cpuShare * 100).toFixed(0)} % of a processor`;
    // A machine that is busy otherwise may send less, but more than is read.
    assert(pauses >= 1, said);
    assertLess(cpuShare, CPU_SHARE_MAX, said);
    // A second that has begun counts whole.
    const wholeSeconds = Math.ceil(seconds) + 1;
    assertLess(received, DATAGRAMS_PER_SECOND_MAX * wholeSeconds + 10, said);
    assertLess(answered, TOTAL_RATE.perSecond * (wholeSeconds + 1), said);
    using after = new OpenFinder();
    await after.asking("afterwards", () => after.names.length === 1);
    for (const socket of sockets) {
      await socket.closed();
      for (const { bytes } of socket.datagrams) assert(bytes.length <= 1_200);
    }
  });
});

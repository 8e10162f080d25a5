import { assert, assertEquals, assertLess, assertMatch } from "@std/assert";
import { DISCOVERY_PORT } from "../../../protocol/discovery.ts";
import {
  encodeAnswerDatagram,
  encodeQuestionDatagram,
} from "../../../protocol/discovery_codec.ts";
import { processorSeconds } from "../../bench/chat/processor_time.ts";
import { RawSocket } from "../../nodes/host/discovery/lan.ts";
import { advertOf, questionOf } from "../../protocol/discovery_messages.ts";
import { bytesOf } from "../../protocol/splits.ts";
import type { ChatNode } from "../chat/chat_node.ts";
import { Load } from "../chat/load.ts";
import { RunningProcess } from "../running_process.ts";
import { ADMIN, Lan, lanTests, SUBNET } from "./lan.ts";

const KEY = "0123456789abcdef";
const OTHER_KEY = "fedcba9876543210";

const FLOOD_PER_SECOND = 10_000;

/** Of one processor, for each server that is flooded; loose, since they are shared. */
const FLOODED_SHARE_MAX = 0.5;

lanTests(import.meta.url, () => {
  Deno.test("discovery datagrams: questions that are forged or recorded are counted, and get no answer", async () => {
    await using lan = new Lan({ environment: { SKEIN_KEY: KEY, ...ADMIN } });
    const [, , cow] = lan.hosts;
    using ear = new RawSocket({ host: "0.0.0.0", port: DISCOVERY_PORT });
    const { view, group } = await lan.startWhole();
    assertEquals((await lan.run(["discover"])).code, 0);
    const recorded = ear.datagrams.find(({ from }) =>
      from.host === lan.desk.host
    );
    assert(recorded !== undefined, "its question goes to all");
    using thief = new RawSocket({ host: `${SUBNET}.254` });
    const forged = encodeQuestionDatagram(
      questionOf({ keyed: true }),
      bytesOf(OTHER_KEY),
    );
    const unkeyed = encodeQuestionDatagram(questionOf(), undefined);
    const old = encodeQuestionDatagram(
      questionOf({ keyed: true, time: Date.now() - 61_000 }),
      bytesOf(KEY),
    );
    for (
      const [reason, bytes] of [
        ["repeated", recorded.bytes],
        ["mac", forged],
        ["key-required", unkeyed],
        ["window", old],
      ] as const
    ) {
      const count = () => counted(cow, "questions_refused", reason);
      const before = await count();
      await thief.send(bytes, {
        host: lan.machineOf(cow).host,
        port: DISCOVERY_PORT,
      });
      // Others may be asking too, each on several ways.
      await lan.until(
        `cow counts ${reason}`,
        async () => await count() > before,
      );
    }
    assertEquals(thief.datagrams, []);
    const now = await cow.status();
    assertEquals([now?.view?.epoch, now?.group], [view?.epoch, group]);
  });

  Deno.test("discovery datagrams: answers that are forged or recorded are counted, and not believed", async () => {
    await using lan = new Lan({ environment: { SKEIN_KEY: KEY, ...ADMIN } });
    const [, bee, cow] = lan.hosts;
    using ear = new RawSocket({ host: "0.0.0.0", port: DISCOVERY_PORT });
    const { view } = await lan.startWhole();
    using thief = new RawSocket({ host: `${SUBNET}.254` });
    // Somebody with the key may ask; the answer belongs to this question alone.
    await thief.send(
      encodeQuestionDatagram(questionOf({ keyed: true }), bytesOf(KEY)),
      { host: lan.machineOf(cow).host, port: DISCOVERY_PORT },
    );
    await thief.received(1);
    const [{ bytes: recorded }] = thief.datagrams;
    const asked = ear.datagrams.findLast(({ from }) =>
      from.host === lan.machineOf(bee).host
    );
    assert(asked !== undefined, "bee has asked");
    const nonce = /"nonce":"([0-9a-f]{32})"/.exec(
      new TextDecoder().decode(asked.bytes),
    )?.[1];
    assert(nonce !== undefined, "a question can be read by everybody");
    const forged = encodeAnswerDatagram({
      ...{ nonce, time: Date.now() },
      advert: advertOf({ id: "zoo", isOpen: false }),
    }, bytesOf(OTHER_KEY));
    for (
      const [reason, bytes] of [
        ["unasked", recorded],
        ["mac", forged],
      ] as const
    ) {
      const count = () => counted(bee, "answers_refused", reason);
      const before = await count();
      await thief.send(bytes, asked.from);
      await lan.until(
        `bee counts ${reason}`,
        async () => await count() > before,
      );
    }
    const now = await bee.status();
    assertEquals(now?.view, { ...view, ageMs: now?.view?.ageMs });
    assert(!now?.peers.some(({ id }) => id === "zoo"), "it meets nobody");
  });

  Deno.test("discovery datagrams: whoever has no key finds nobody where all have one, and is told why", async () => {
    await using lan = new Lan({
      servers: 4,
      environment: { SKEIN_KEY: KEY },
      environments: { dog: { SKEIN_KEY: "" } },
    });
    const [ant, bee, cow, dog] = lan.hosts;
    const { group } = await lan.startWhole([ant, bee, cow]);
    await dog.start();
    await dog.process.line(/has a cluster key, and this node has none/);
    await ant.process.line(/has no cluster key, and this node has one/);
    const alone = await lan.whole([dog]);
    assert(alone.group !== group);
    const { view } = await lan.whole([ant, bee, cow]);
    assertEquals(view?.voters.length, 3);

    const environment = { SKEIN_KEY: "" };
    await dog.kill();
    const discover = await lan.run(["discover"], { environment });
    assertEquals(discover.code, 1, discover.output);
    assertMatch(
      discover.output,
      /they have a cluster key, and this command has none/,
    );
    assertEquals((await lan.run(["discover"])).code, 0);
  });

  Deno.test(`discovery datagrams: ${FLOOD_PER_SECOND} questions a second cost little, stop nobody, and a newcomer is found`, async () => {
    await using lan = new Lan({ environment: ADMIN });
    const [ant, bee, cow] = lan.hosts;
    await lan.startWhole([ant, bee]);
    const { pathname } = new URL("flood_child.ts", import.meta.url);
    await using flood = new RunningProcess({
      name: "flood",
      command: [
        ...lan.desk.under,
        ...[Deno.execPath(), "run", "--quiet", "--no-check", "-A"],
        ...["--unstable-net", pathname, lan.desk.host, `${SUBNET}.255`],
        String(FLOOD_PER_SECOND),
      ],
      folder: Deno.cwd(),
    });
    const sent = () => Number(flood.outputText().split("\n").at(-2) ?? 0);
    await flood.until("it floods", () => sent() >= FLOOD_PER_SECOND);

    const pids = [ant, bee].map(({ process }) => process.pid);
    const before = pids.map((pid) => processorSeconds([pid]));
    const sinceMs = performance.now();
    const [first, answered] = [sent(), await counted(ant, "answered")];
    await flood.until(
      "it floods on",
      () => sent() >= first + 2 * FLOOD_PER_SECOND,
    );
    const seconds = (performance.now() - sinceMs) / 1_000;
    const shares = pids.map((pid, at) =>
      (processorSeconds([pid]) - before[at]) / seconds
    );
    const answers = await counted(ant, "answered") - answered;
    console.log(
      `${((sent() - first) / seconds).toFixed()} questions a second: ${
        shares.map((share) => `${(100 * share).toFixed()} %`).join(" and ")
      } of a processor, ${(answers / seconds).toFixed()} answers a second`,
    );
    for (const share of shares) assertLess(share, FLOODED_SHARE_MAX);
    // 50 a second to one address; and honest ones.
    assertLess(answers / seconds, 100);

    await using load = await Load.start(lan);
    await cow.start();
    const { view } = await lan.whole();
    assertEquals(view?.voters.length, 3);
    await load.more();
    assertEquals(flood.exit, undefined, flood.describe());
    await load.verify();
  });
});

/** What a server has counted on its page; with a reason, of that alone. */
async function counted(
  node: ChatNode,
  what: string,
  reason?: string,
): Promise<number> {
  const page = await node.page("/metrics");
  const label = reason === undefined ? "" : `[^}\\n]*reason="${reason}"`;
  const line = new RegExp(
    `^skein_discovery_${what}_total\\{?${label}[^}\\n]*\\}? (\\d+)$`,
    "m",
  );
  const [, count] = line.exec(page?.text ?? "") ?? [];
  assert(count !== undefined, page?.text);
  return Number(count);
}

import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
} from "@std/assert";
import type { NodeStatus } from "../../../protocol/status.ts";
import { Load } from "../chat/load.ts";
import { Lan, lanTests } from "./lan.ts";

/** Servers that are started in the same moment, in rounds one after the other. */
const COUNTS = [3, 4, 5, 5] as const;

/** SKEIN_ROUNDS asks for more. */
const rounds = Number(Deno.env.get("SKEIN_ROUNDS") ?? COUNTS.length);

lanTests(import.meta.url, () => {
  Deno.test(
    `discovery birth: servers started in the same moment are one group in the end, in each of ${rounds} rounds`,
    async () => {
      await using lan = new Lan({ servers: 5 });
      const groups = new Set<string | undefined>();
      for (let round = 0; round < rounds; round += 1) {
        const count = COUNTS[round % COUNTS.length];
        const hosts = lan.hosts.slice(-count);
        const { view, group } = await lan.startWhole(hosts);
        assertEquals(view?.voters.length, count);
        groups.add(group);
        await Promise.all(hosts.map((host) => host.kill()));
        for (const { place } of hosts) {
          Deno.removeSync(place.data, { recursive: true });
        }
      }
      assertEquals(groups.size, rounds);
    },
  );

  Deno.test(
    "discovery birth: of two empty groups the one with the lower leader gives way",
    async () => {
      await using lan = new Lan({ servers: 4 });
      const [ant, bee, cow, dog] = lan.hosts;
      lan.divide([ant, bee]);
      await lan.start();
      const low = await lan.whole([ant, bee]);
      const high = await lan.whole([cow, dog]);
      assert(low.group !== high.group);
      lan.unite();
      const { view, group } = await lan.whole();
      assertEquals(group, high.group);
      assertEquals(view?.voters.length, 4);
      await bee.process.line(
        new RegExp(
          `The group of this node is empty, and gives way to that of \\\\?"${high.view?.primary}`,
        ),
      );
      for (const host of [ant, bee]) {
        await host.process.line(/This server's group has ended/);
      }
      for (const host of [cow, dog]) {
        assert(!host.process.lines.some((line) => line.includes("has ended")));
      }
    },
  );

  Deno.test(
    "discovery birth: a group that holds data remains, though an empty one has the higher leader",
    async () => {
      await using lan = new Lan({ servers: 4 });
      const [ant, bee, cow, dog] = lan.hosts;
      lan.divide([ant, bee]);
      await lan.start();
      const low = await lan.whole([ant, bee]);
      await lan.whole([cow, dog]);
      await using load = await Load.start(lan, { servers: ["ant", "bee"] });
      lan.unite();
      const { view, group } = await lan.whole();
      assertEquals(group, low.group);
      assertEquals(
        view?.primary,
        view?.voters.at(-1),
        "the higher one leads it",
      );
      await load.more();
      await load.verify();
    },
  );

  Deno.test(
    "discovery birth: two groups with data stay two and say so, until an operator does what they say",
    async () => {
      await using lan = new Lan({ servers: 4 });
      const [ant, bee, cow, dog] = lan.hosts;
      lan.divide([ant, bee]);
      await lan.start();
      const low = await lan.whole([ant, bee]);
      const high = await lan.whole([cow, dog]);
      await using load = await Load.start(lan, { servers: ["ant", "bee"] });
      await using other = await Load.start(lan.part("cow", "dog"));
      lan.unite();

      for (const [mine, theirs] of [[low, high], [high, low]] as const) {
        const hosts = mine === low ? [ant, bee] : [cow, dog];
        for (const host of hosts) {
          await host.process.line(
            new RegExp(
              `The group of \\\\"${theirs.view?.primary}\\\\" holds data as this one does .*: the two never merge by themselves`,
            ),
          );
          const status = await host.status();
          assertEquals(rivalsOf(status), [[
            theirs.group,
            theirs.view?.primary,
          ]]);
        }
      }
      const status = await lan.run(["status", "--json"]);
      const { answers } = JSON.parse(status.output);
      for (const answer of answers) {
        assertEquals(rivalsOf(answer.status).length, 1, status.output);
      }
      const text = await lan.run(["status"]);
      assertMatch(text.output, /never merge|RIVAL/i);
      await load.more();
      await other.more();
      assertEquals((await lan.whole([ant, bee])).group, low.group);
      assertEquals((await lan.whole([cow, dog])).group, high.group);
      await other.verify();

      // What the warning says.
      for (const host of [cow, dog]) {
        await host.stop("SIGTERM");
        lan.tell(host, "--data", "data-of-its-own");
      }
      await lan.start([cow, dog]);
      const { view, group } = await lan.whole();
      assertEquals([group, view?.voters.length], [low.group, 4]);
      assertNotEquals(view?.primary, low.view?.primary, "a higher one came");
      await load.more();
      await load.verify();
      for (const host of [cow, dog]) {
        assertEquals(rivalsOf(await host.status()), []);
      }
    },
  );
});

function rivalsOf(status: NodeStatus | undefined): unknown[] {
  return (status?.rivals ?? []).map(({ group, leader }) => [group, leader]);
}

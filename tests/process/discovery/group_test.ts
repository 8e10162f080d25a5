import { assert, assertEquals, assertMatch } from "@std/assert";
import { CLIENT_PORT, Lan, lanTests, REPLICA_PORT, SUBNET } from "./lan.ts";

const PASSWORD = { SKEIN_PASSWORD: "correct horse" };

lanTests(import.meta.url, () => {
  Deno.test(
    "discovery: three servers that are told nothing are one group, led by the highest, and found by whoever looks",
    async () => {
      await using lan = new Lan();
      const { view } = await lan.startWhole();
      assert(view !== undefined);
      assertEquals(view.voters.map((id) => id.replace(/-[0-9a-f]{4}$/, "")), [
        ...["ant", "bee", "cow"],
      ]);
      const [, , leader] = view.members;
      assertEquals(view.primary, leader);

      const [, bee] = lan.hosts;
      const status = await lan.run(["status"], { at: lan.machineOf(bee) });
      assertEquals([status.code, status.lines], [0, []]);
      assertMatch(
        status.output,
        new RegExp(
          `^Cluster skein: ${leader} leads; takes writes, survives the loss of any 1\n`,
        ),
      );

      const discover = await lan.run(["discover", "--json"]);
      assertEquals([discover.code, discover.lines], [0, []]);
      const { groups, seekers } = JSON.parse(discover.output);
      assertEquals([groups.length, seekers], [1, []]);
      assertEquals(groups[0].leader.id, leader);
      assertEquals(
        groups[0].nodes.map((node: Record<string, unknown>) => [
          ...[node.id, node.peers, node.clients],
        ]),
        view.members.map((id, at) => {
          const host = `${SUBNET}.${at + 1}`;
          return [id, `${host}:${REPLICA_PORT}`, `${host}:${CLIENT_PORT}`];
        }),
      );
    },
  );

  Deno.test(
    "discovery: what is piped to a chat without flags reaches somebody who looks for the group as well",
    async () => {
      await using lan = new Lan();
      await lan.startWhole();
      const bob = lan.skein(["chat", "-u", "bob", "--register", "--json"], {
        environment: PASSWORD,
      });
      // Until he has an account, nobody can write to him.
      await bob.feed(new TextEncoder().encode("@bob I am here\n"));
      await bob.until("his own message comes", () => bob.outputBytes > 0);
      const ann = await lan.run(["chat", "-u", "ann", "--register"], {
        environment: PASSWORD,
        input: "@bob good morning\n",
      });
      assertEquals([ann.code, ann.lines], [0, []]);
      const second = await bob.until(
        "her message comes",
        () => bob.outputText().split("\n").at(1) || undefined,
      );
      const { from, text } = JSON.parse(second);
      assertEquals([from, text], ["ann", "good morning"]);
      await bob.endInput();
      assertEquals([(await bob.ended()).code, bob.lines], [0, []]);
    },
  );
});

import { assert, assertEquals } from "@std/assert";
import type { ChatNode } from "../chat/chat_node.ts";
import { Load } from "../chat/load.ts";
import { Lan, lanTests } from "./lan.ts";

lanTests(import.meta.url, () => {
  Deno.test("discovery leave: of five servers two leave for good, and any one of the three that stay may die", async () => {
    await using lan = new Lan({ servers: 5 });
    const [ant, bee, cow, dog, elk] = lan.hosts;
    lan.tell(bee, "--leave-on-exit");
    const { view } = await lan.startWhole();
    const [first, second] = view?.voters ?? [];
    await using load = await Load.start(lan, {
      servers: ["cow", "dog", "elk"],
    });

    ant.expectEnd();
    const { code, output } = await lan.run(["leave"], {
      at: lan.machineOf(ant),
    });
    assertEquals(code, 0, output);
    assert(output.includes(`${first} is asked to leave its group for good`));
    assert(output.includes(`${first} has left: 4 voters remain`), output);
    assertEquals((await ant.process.ended()).code, 0, ant.describe());
    assertEquals((await lan.whole()).view?.voters.length, 4);

    assertEquals((await bee.stop("SIGTERM")).code, 0, bee.describe());
    assertEquals((await lan.whole()).view?.voters.length, 3);
    assertEquals(votesTaken(elk), [
      `${first} has left for good and votes no more`,
      `${second} has left for good and votes no more`,
    ]);
    await load.more();

    await elk.kill();
    assertEquals((await lan.primary()).name, "dog");
    await load.more();
    await elk.start();
    await lan.whole();
    await load.verify();
    assertEquals([cow.isUp, dog.isUp], [true, true]);
  });

  Deno.test("discovery leave: two of five are dead and forgotten, one after the other; then one of three may die, and a forgotten one comes back", async () => {
    await using lan = new Lan({
      servers: 5,
      flags: ["--forget-after", "2s"],
    });
    const [ant, bee, , dog, elk] = lan.hosts;
    const { view, group } = await lan.startWhole();
    const [first, second] = view?.voters ?? [];
    await using load = await Load.start(lan, {
      servers: ["cow", "dog", "elk"],
    });
    await Promise.all([ant.kill(), bee.kill()]);
    await load.more();
    assertEquals((await lan.whole()).view?.voters.length, 3);
    assertEquals(votesTaken(elk), [
      `${first} is forgotten (dead for N s)`,
      `${second} is forgotten (dead for N s)`,
    ]);

    await dog.kill();
    await load.more();
    assertEquals((await lan.primary()).name, "elk");
    await lan.start([dog, ant]);
    const again = await lan.whole();
    assertEquals(again.group, group);
    assertEquals(again.view?.voters.length, 4);
    assertEquals(again.view?.voters[0], first, "under the same name as before");
    await load.more();
    await load.verify();
  });
});

/** Why votes were taken, in each view by which one was. */
function votesTaken({ process }: ChatNode): string[] {
  const reasons = process.logLines().flatMap(({ message }) => {
    const [, reason] = /^Epoch \d+: [^;]*; (.*)$/.exec(message) ?? [];
    return reason ?? [];
  });
  return reasons.filter((reason) =>
    /votes no more|is forgotten/.test(reason) && !reason.endsWith("(settled)")
  ).map((reason) => reason.replace(/\d+ s\)$/, "N s)")).sort();
}

import { assertEquals } from "@std/assert";
import { Load } from "../chat/load.ts";
import { CLIENT_PORT, Lan, lanTests } from "./lan.ts";

const PASSWORD = { SKEIN_PASSWORD: "correct horse" };

lanTests(import.meta.url, () => {
  for (const [name, next] of [["ant", "cow"], ["cow", "bee"]] as const) {
    const what = name === "cow" ? "the leader" : "a server";
    Deno.test(
      `discovery cut: ${what} is cut off and comes back; only the majority acknowledges`,
      async () => {
        await using lan = new Lan();
        const { view } = await lan.startWhole();
        const [lost] = lan.named(name);
        const at = lan.machineOf(lost);
        const own = ["-c", `127.0.0.1:${CLIENT_PORT}`];
        await using load = await Load.start(lan);
        // Somebody on that machine writes to the server there.
        const mole = lan.skein(
          [
            "chat",
            ...own,
            ..."-u mole --register --json --timeout 2s".split(" "),
          ],
          { at, environment: PASSWORD },
        );
        await mole.feed(new TextEncoder().encode("@mole one\n"));
        await mole.until("it is acknowledged", () => mole.outputBytes > 0);

        lan.network.cut(name);
        const leader = await lan.primary((host) => host !== lost);
        assertEquals(leader.name, next);
        await lan.until("the others go on without it", async () => {
          const status = await leader.status();
          return status?.isWritable && status.view?.members.length === 2;
        });
        await load.more(60);
        await mole.feed(new TextEncoder().encode("@mole two\n"));
        await mole.endInput();
        assertEquals((await mole.ended()).code, 1, mole.describe());
        const status = await lan.run(["status", "--json", ...own], { at });
        assertEquals([status.code, JSON.parse(status.output).isWritable], [
          ...[1, false],
        ], status.output);

        lan.network.mend(name);
        const again = await lan.whole();
        assertEquals(again.view?.members, view?.members);
        await load.more();
        await load.verify();
      },
    );
  }
});

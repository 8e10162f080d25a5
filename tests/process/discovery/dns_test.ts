import { assert, assertEquals } from "@std/assert";
import { DISCOVERY_PORT } from "../../../protocol/discovery.ts";
import { Load } from "../chat/load.ts";
import { Lan, lanTests, SUBNET } from "./lan.ts";

const NAME = "chat.lab.example";

/** Addresses of the first three machines, and of one that is not there. */
const HOSTS = [1, 2, 3, 99].map((number) => `${SUBNET}.${number} ${NAME}\n`);

/** Behind it is the first machine alone. */
const ONE_WAY = "first.lab.example";

lanTests(import.meta.url, () => {
  Deno.test("discovery by a name: three servers find each other without a datagram, and so does a client", async () => {
    const flags = ["--discover", `dns:${NAME}`];
    await using lan = new Lan({ flags });
    const { view, discover } = await lan.startWhole();
    assertEquals(view?.voters.length, 3);
    assertEquals(discover, `dns:${NAME}:8081`);
    for (const host of lan.hosts) {
      const { code, stdout } = await new Deno.Command("ip", {
        args: [...lan.machineOf(host).under.slice(1), "cat", "/proc/net/udp"],
      }).output();
      assertEquals(code, 0);
      const text = new TextDecoder().decode(stdout);
      const port = DISCOVERY_PORT.toString(16).toUpperCase();
      assert(!text.includes(`:${port} `), `${host.name} listens:\n${text}`);
    }
    await using load = await Load.start(lan);
    const [, , cow] = lan.hosts;
    await cow.kill();
    await load.more();
    await cow.start();
    await lan.whole();
    await load.verify();

    const nobody = await lan.run(["status"]);
    assertEquals(nobody.code, 1, "there is nothing to be found by UDP");
    const status = await lan.run(["status", ...flags]);
    assertEquals(status.code, 0, status.output);
  });

  Deno.test("discovery by a name: two empty groups unite though only one asks the other", async () => {
    const environment = { SKEIN_DISCOVER: `dns:${NAME}` };
    await using lan = new Lan({
      ...{ servers: 4, environment },
      environments: { dog: { SKEIN_DISCOVER: `dns:${ONE_WAY}` } },
    });
    const [ant, bee, cow, dog] = lan.hosts;
    // It ranks above the others, which have never heard its name.
    await dog.start();
    const alone = await lan.whole([dog]);
    await lan.startWhole([ant, bee, cow]);
    const { group } = await lan.whole();
    assertEquals(group, alone.group);
  });
}, {
  hosts: `127.0.0.1 localhost\n${HOSTS.join("")}${SUBNET}.1 ${ONE_WAY}\n`,
  resolvConf: "",
});

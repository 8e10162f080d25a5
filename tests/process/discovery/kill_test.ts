import { assertEquals } from "@std/assert";
import { Load } from "../chat/load.ts";
import { Lan, lanTests } from "./lan.ts";

lanTests(import.meta.url, () => {
  Deno.test(
    "discovery kill: the leader under load; the next highest leads, until it is back",
    async () => {
      await using lan = new Lan();
      const [, bee, cow] = lan.hosts;
      const { view } = await lan.startWhole();
      await using load = await Load.start(lan);
      await cow.kill();
      const next = await lan.primary();
      assertEquals(next.name, "bee");
      await load.more();
      const lost =
        `${view?.primary} lost \\((connection (reset|refused)|Peer closed the link)\\)`;
      const [, second, first] = view?.members ?? [];
      await bee.process.line(
        new RegExp(`Epoch \\d+: ${second} leads [^;]*; ${lost}`),
      );
      const before = bee.process.lines.length;
      await cow.start();
      const again = await lan.whole();
      assertEquals(again.view?.primary, first, "under the same name as before");
      assertEquals(again.group, (await bee.status())?.group);
      await bee.process.line(
        new RegExp(
          `Epoch \\d+: ${first} leads [^;]*; .*${first} joined`,
        ),
        before,
      );
      await load.more();
      await load.verify();
    },
  );
});

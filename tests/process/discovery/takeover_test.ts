import { assert, assertEquals, assertLess } from "@std/assert";
import { Load } from "../chat/load.ts";
import { Lan, lanTests } from "./lan.ts";

/** Writes wait for no longer while the lead changes; loose, since cores are shared. */
const PAUSE_MS_MAX = 2_000;

lanTests(import.meta.url, () => {
  Deno.test(
    "discovery: a higher server comes while messages flow; it takes over, and nothing is lost",
    async () => {
      await using lan = new Lan();
      const [ant, bee, cow] = lan.hosts;
      await lan.startWhole([ant, bee]);
      await using load = await Load.start(lan);
      const before = await lan.primary();
      assertEquals(before.name, "bee");
      load.watchPause();
      await cow.start();
      const { view } = await lan.whole();
      await load.more(60);
      const pauseMs = load.pauseMs;
      console.log(
        `No write was acknowledged for ${pauseMs.toFixed()} ms at most`,
      );
      assertLess(pauseMs, PAUSE_MS_MAX);
      const [, second, first] = view?.members ?? [];
      assertEquals(view?.primary, first);
      await bee.process.line(
        new RegExp(`${second} steps down, ${first} takes over`),
      );
      await load.verify();
    },
  );

  Deno.test(
    "discovery: with --sticky a higher server that comes is one of the group, and leads nothing",
    async () => {
      await using lan = new Lan({ flags: ["--sticky"] });
      const [ant, bee, cow] = lan.hosts;
      const { view: before } = await lan.startWhole([ant, bee]);
      await using load = await Load.start(lan);
      await cow.start();
      const { view } = await lan.whole(lan.nodes, { isSticky: true });
      await load.more();
      assertEquals(view?.voters.length, 3);
      assertEquals(view?.primary, before?.primary);
      await load.verify();
      const lines = lan.hosts.flatMap(({ process }) => process.lines);
      assert(
        !lines.some((line) => line.includes("steps down")),
        lan.describe(),
      );
    },
  );
});

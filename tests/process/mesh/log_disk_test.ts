/** What becomes of the chat while its log cannot be written. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { SmallDisk, smallDiskMissing } from "../chat/small_disk.ts";
import { MeshFleet } from "./mesh_fleet.ts";

const DISK_BYTES = 64_000_000;

const reason = smallDiskMissing();

/** A test on a disk of its own; else it says why it is left out. */
function diskTest(name: string, fn: (disk: SmallDisk) => Promise<void>): void {
  Deno.test({
    name: reason === undefined ? name : `${name} (skipped: ${reason})`,
    ignore: reason !== undefined,
    fn: async () => {
      using disk = new SmallDisk(DISK_BYTES);
      await fn(disk);
    },
  });
}

diskTest(
  "mesh log: the disk is full; the chat goes on, and all is logged once there is room",
  async (disk) => {
    await using fleet = await MeshFleet.start({ logFolder: disk.path });
    const [a] = fleet.servers;
    const dana = await a.login("Dana");
    const lina = await fleet.server("C").login("Lina");
    await dana.say("there is room");
    await fleet.logged("it", ({ text }) => text === "there is room");
    disk.fill(0);
    const filler = "x".repeat(8_000);
    for (let n = 1; n <= 20; n++) await dana.say(`${n} ${filler}`);
    await lina.heard(`20 ${filler}`);
    await fleet.until(
      "A says so",
      () => a.complaints().some((line) => /space|full/i.test(line)),
    );
    await fleet.until(
      "A is not ready",
      async () => (await a.page("/readyz"))?.status === 503,
    );
    const { text = "" } = await a.page("/readyz") ?? {};
    assertMatch(text, /The log: .*(?:space|full)/i);
    disk.clear();
    await fleet.logged("the last", ({ text }) => text === `20 ${filler}`);
    await a.ready();
    fleet.checkSequence();
    const said = fleet.log().filter(({ type }) => type === "msg")
      .map(({ text }) => text);
    assertEquals(
      said,
      ["there is room"].concat(
        Array.from({ length: 20 }, (_, at) => `${at + 1} ${filler}`),
      ),
    );
  },
);

diskTest(
  "mesh log: more waits than is kept; people are told, wait, and lose nothing",
  async (disk) => {
    await using fleet = await MeshFleet.start({
      ids: ["A", "B"],
      logFolder: disk.path,
    });
    const [a, b] = fleet.servers;
    const dana = await a.login("Dana", { more: true });
    const ahmad = await b.login("Ahmad");
    disk.fill(0);
    const filler = "x".repeat(15_000);
    const count = 500;
    const saying = (async () => {
      for (let n = 1; n <= count; n++) await dana.say(`${n} ${filler}`);
    })();
    await dana.line(/"code":"waiting"/);
    // Who is at the other server has nothing to wait for.
    assert(await b.metric("skein_mesh_log_queue_bytes") < 1_000_000);
    disk.clear();
    await dana.line(/"code":"going-on"/);
    await saying;
    await ahmad.heard(`${count} ${filler}`);
    await fleet.logged("the last", ({ text }) => text === `${count} ${filler}`);
    const expected = Array.from(
      { length: count },
      (_, at) => `${at + 1} ${filler}`,
    );
    assertEquals(ahmad.texts.length, count);
    assertEquals(ahmad.texts, expected);
    const said = fleet.log().filter(({ type }) => type === "msg")
      .map(({ text }) => text);
    assertEquals(said, expected);
    fleet.checkSequence();
  },
);

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { ChatFleet } from "./chat_fleet.ts";
import { Load } from "./load.ts";

Deno.test("chat identity: a data directory in use names the process that uses it", async () => {
  await using fleet = new ChatFleet();
  await fleet.startReady();
  await using load = await Load.start(fleet);
  for (const node of [fleet.servers[0], fleet.witnesses[0]]) {
    const { data, kind } = node.place;
    const second = fleet.extra(node.name, { data, kind });
    const { exit, text } = await second.refusal();
    assertEquals(exit.code, 1, second.describe());
    assertStringIncludes(
      text,
      `Cannot open "${data}": it is in use by process ${node.process.pid}`,
    );
  }
  await load.more();
  await load.verify();
});

Deno.test("chat identity: of two servers with one id the later one has to go", async () => {
  await using fleet = new ChatFleet();
  await fleet.startReady();
  await using load = await Load.start(fleet);
  for (const node of [fleet.servers[0], fleet.servers[2]]) {
    const second = fleet.extra(node.name, {});
    const { exit, text } = await second.refusal();
    assertEquals(exit.code, 1, second.describe());
    assertMatch(text, new RegExp(`\\b${node.name}\\b`));
    await load.more();
  }
  const { troubles } = await load.verify();
  assertEquals(troubles, {}, "nobody noticed");
});

const STRANGERS: readonly {
  readonly what: string;
  readonly all?: Readonly<Record<string, string>>;
  readonly flags?: readonly string[];
  readonly own?: Readonly<Record<string, string>>;
  readonly says: RegExp;
}[] = [
  {
    what: "another cluster's name",
    flags: ["--cluster", "other"],
    says: /"other"/,
  },
  {
    what: "another cluster's key",
    all: { SKEIN_KEY: "the key of this group" },
    own: { SKEIN_KEY: "the key of that group" },
    says: /key/,
  },
  {
    what: "no key where the others have one",
    all: { SKEIN_KEY: "the key of this group" },
    own: {},
    says: /key/,
  },
];

for (const { what, all = {}, flags = [], own, says } of STRANGERS) {
  Deno.test(`chat identity: a server with ${what} is left out, and says why`, async () => {
    const same = { environment: all };
    const other = { environment: own ?? all, flags };
    await using fleet = new ChatFleet({
      nodes: { a: other, b: same, c: same, w1: same, w2: same },
    });
    const [a, b, c] = fleet.servers;
    await fleet.start([b, c, ...fleet.witnesses]);
    await a.start();
    const told = (node: typeof a) =>
      node.process.logLines().some(({ level, message, ...more }) =>
        (level === "warn" || level === "error") &&
        says.test(`${message} ${JSON.stringify(more)}`)
      );
    await fleet.until("both sides say why", () => told(a) && told(c));
    assertEquals((await a.page("/readyz"))?.status, 503);
    const status = await a.status();
    assertEquals(status?.isWritable, false);
  });
}

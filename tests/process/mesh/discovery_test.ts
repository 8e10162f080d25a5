/** Servers that nobody has told of each other, in a network of their own. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { lanTests, SUBNET } from "../discovery/lan.ts";
import { Network } from "../network.ts";
import { until } from "../until.ts";
import { MeshServer } from "./mesh_server.ts";

const NAMES = ["ant", "bee", "cow"] as const;
const PORT = 5001;

/** Three machines with a server each, in folders of their own. */
class MeshLan implements AsyncDisposable {
  readonly network = new Network();
  readonly servers: readonly MeshServer[];
  readonly #folder = Deno.makeTempDirSync({ prefix: "skein-mesh-lan-" });

  constructor(
    options: {
      readonly flags?: readonly string[];
      readonly environments?: Readonly<Record<string, Record<string, string>>>;
    } = {},
  ) {
    this.network.join(`${SUBNET}.254/24`);
    this.servers = NAMES.map((name, at) => {
      const { under, host } = this.network.machine(
        name,
        `${SUBNET}.${at + 1}/24`,
      );
      const folder = `${this.#folder}/${name}`;
      Deno.mkdirSync(folder);
      return new MeshServer(`${name}-${PORT}`, {
        ...{ address: `${host}:${PORT}`, admin: `${host}:9091`, folder, under },
        // Whatever becomes of the test, no server stays behind.
        arguments: () => ["--exit-with-parent", ...options.flags ?? []],
        environment: {
          ...{ HOSTNAME: name, SKEIN_ADMIN: "0.0.0.0:9091" },
          ...options.environments?.[name],
        },
      });
    });
  }

  async start(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.start()));
  }

  /** Waits until each of these sees exactly these. */
  async whole(servers: readonly MeshServer[] = this.servers): Promise<void> {
    const ids = servers.map(({ id }) => id).sort().join();
    for (const server of servers) {
      await until(
        `${server.id} sees ${ids}`,
        async () => (await server.up()).join() === ids,
        { context: () => servers.map((one) => one.describe()).join("") },
      );
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(
      this.servers.map((server) => server[Symbol.asyncDispose]()),
    );
    this.network[Symbol.dispose]();
    await Deno.remove(this.#folder, { recursive: true });
  }
}

async function assertTalks(servers: readonly MeshServer[]): Promise<void> {
  const people = [];
  for (const [at, server] of servers.entries()) {
    people.push(await server.login(`user${at}`));
  }
  for (const [at, person] of people.entries()) await person.say(`from ${at}`);
  for (const person of people) {
    for (const at of people.keys()) await person.heard(`from ${at}`);
  }
}

lanTests(import.meta.url, () => {
  Deno.test("mesh discovery: three servers without a flag find each other, and one that comes back", async () => {
    await using lan = new MeshLan();
    await lan.start();
    await lan.whole();
    await assertTalks(lan.servers);
    const [ant, bee, cow] = lan.servers;
    for (const server of lan.servers) {
      assertMatch(
        server.process.lines.join("\n"),
        new RegExp(`"Server ${server.id} listens on 0.0.0.0:${PORT}"`),
      );
      const status = await server.status();
      const own = status?.servers.find(({ id }) => id === server.id);
      assertEquals(own?.address, server.address, "as others reach it");
    }
    await bee.kill();
    await lan.whole([ant, cow]);
    await bee.start();
    await lan.whole();
  });

  Deno.test("mesh discovery: a server without the key finds nobody, and is told of", async () => {
    const key = { SKEIN_KEY: "a key that all but one have" };
    await using lan = new MeshLan({ environments: { ant: key, bee: key } });
    await lan.start();
    const [ant, bee, cow] = lan.servers;
    await lan.whole([ant, bee]);
    await until(
      "it is said",
      () =>
        [ant, bee].some((server) =>
          server.complaints().some((line) => line.includes("cluster key"))
        ),
    );
    assertEquals(await cow.up(), [cow.id]);
    await assertTalks([ant, bee]);
  });

  Deno.test("mesh discovery: all addresses behind a name are asked", async () => {
    await using lan = new MeshLan({ flags: ["--discover", "dns:mesh.lab"] });
    await lan.start();
    await lan.whole();
    await assertTalks(lan.servers);
    assert(lan.servers.length === 3);
  });
}, {
  hosts: NAMES.map((_, at) => `${SUBNET}.${at + 1} mesh.lab\n`).join(""),
});

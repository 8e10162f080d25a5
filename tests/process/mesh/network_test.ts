/** Servers on machines of their own, and what becomes of them when the network breaks. */

import { assert, assertEquals } from "@std/assert";
import {
  freeSubnet,
  type Machine,
  Network,
  networkMissing,
} from "../network.ts";
import { MeshFleet, type MeshFleetOptions } from "./mesh_fleet.ts";
import { assertAllHeard, Talker } from "./talk.ts";

const IDS = ["A", "B", "C"] as const;
type Id = typeof IDS[number];

const reason = networkMissing();

/** A test that needs network namespaces; else it says why it is left out. */
function networkTest(name: string, fn: () => Promise<void>): void {
  Deno.test({
    name: reason === undefined ? name : `${name} (skipped: ${reason})`,
    ignore: reason !== undefined,
    fn,
  });
}

/** Three machines with a server each; this process reaches all, whatever is lost between them. */
class Wire implements AsyncDisposable {
  readonly network = new Network();
  readonly machines = new Map<Id, Machine>();
  #fleet: MeshFleet | undefined;

  constructor() {
    const subnet = freeSubnet();
    this.network.join(`${subnet}.254/24`);
    for (const [at, id] of IDS.entries()) {
      const name = id.toLowerCase();
      const machine = this.network.machine(name, `${subnet}.${at + 1}/24`);
      this.machines.set(id, machine);
    }
  }

  static async start(
    options: Pick<MeshFleetOptions, "flags"> = {},
  ): Promise<{ readonly wire: Wire; readonly fleet: MeshFleet }> {
    const wire = new Wire();
    try {
      const fleet = await MeshFleet.start({
        places: Object.fromEntries(wire.machines),
        hasOwnLogs: true,
        ...options,
      });
      wire.#fleet = fleet;
      return { wire, fleet };
    } catch (error) {
      await wire[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Nothing goes between these any more, in either direction. */
  cut(...pairs: readonly (readonly [Id, Id])[]): void {
    for (const [one, other] of pairs) {
      this.network.lose(this.#of(one), this.#of(other));
      this.network.lose(this.#of(other), this.#of(one));
    }
  }

  heal(...pairs: readonly (readonly [Id, Id])[]): void {
    for (const [one, other] of pairs) {
      this.network.find(this.#of(one), this.#of(other));
      this.network.find(this.#of(other), this.#of(one));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#fleet?.[Symbol.asyncDispose]();
    this.network[Symbol.dispose]();
  }

  #of(id: Id): Machine {
    const machine = this.machines.get(id);
    if (machine === undefined) throw new Error(`There is no machine ${id}`);
    return machine;
  }
}

const C_ALONE = [["A", "C"], ["B", "C"]] as const;

networkTest(
  "mesh network: both sides of a cut go on, and hear the other's messages after it, once and in order",
  async () => {
    const { wire, fleet } = await Wire.start();
    await using _ = wire;
    const [a, b, c] = fleet.servers;
    const dana = await a.login("Dana");
    const ahmad = await b.login("Ahmad");
    const lina = await c.login("Lina");
    const talkers = [
      new Talker("Dana", dana, { everyMs: 10 }),
      new Talker("Lina", lina, { everyMs: 10 }),
    ];
    for (const talker of talkers) await talker.more(20);
    wire.cut(...C_ALONE);
    await fleet.whole([a, b]);
    await fleet.whole([c]);
    for (const talker of talkers) await talker.more(50);
    wire.heal(...C_ALONE);
    await fleet.whole();
    for (const talker of talkers) await talker.more(20);
    for (const talker of talkers) await talker.stop();
    await assertAllHeard([dana, ahmad, lina], talkers);
    assert(await c.metric("skein_mesh_missed_total") === 0);
  },
);

networkTest(
  "mesh network: between two servers that do not reach each other messages go through a third",
  async () => {
    const { wire, fleet } = await Wire.start();
    await using _ = wire;
    const [a, b, c] = fleet.servers;
    const dana = await a.login("Dana");
    const ahmad = await b.login("Ahmad");
    const lina = await c.login("Lina");
    const talkers = [
      new Talker("Dana", dana, { everyMs: 10 }),
      new Talker("Lina", lina, { everyMs: 10 }),
    ];
    for (const talker of talkers) await talker.more(20);
    wire.cut(["A", "C"]);
    const links = (server: typeof a) => server.metric("skein_mesh_links");
    await fleet.until("A has lost C", async () => await links(a) === 1);
    await fleet.until("C has lost A", async () => await links(c) === 1);
    for (const talker of talkers) await talker.more(50);
    await lina.heard(`Dana ${talkers[0].count - 20}`);
    assertEquals(await a.up(), [...IDS], "C is still there, by way of B");
    wire.heal(["A", "C"]);
    await fleet.until("A has C again", async () => await links(a) === 2);
    for (const talker of talkers) await talker.more(20);
    for (const talker of talkers) await talker.stop();
    await assertAllHeard([dana, ahmad, lina], talkers);
  },
);

networkTest(
  "mesh network: of two equal names that meet after a cut, the earlier login keeps it",
  async () => {
    const { wire, fleet } = await Wire.start();
    await using _ = wire;
    const [a, b, c] = fleet.servers;
    wire.cut(...C_ALONE);
    await fleet.whole([a, b]);
    await fleet.whole([c]);
    const late = await c.login("Noor");
    const first = await a.login("Dana");
    const second = await c.login("Dana", { more: true });
    wire.heal(...C_ALONE);
    await fleet.whole();
    const notice = JSON.parse(await second.line(/Another Dana/));
    assertEquals(notice, {
      type: "system",
      text: "Another Dana logged in earlier on Server A: you are Dana-C now",
      ...{ code: "renamed", name: "Dana-C", was: "Dana" },
    });
    await first.say("I am Dana");
    await second.say("I was Dana");
    await late.heard("I was Dana");
    await late.heard("I am Dana");
    const heard = late.said("msg").map(({ from, text }) => `${from}: ${text}`);
    assertEquals(heard.toSorted(), ["Dana-C: I was Dana", "Dana: I am Dana"]);
    assertEquals(
      first.lines.filter((line) => line.includes("Another")),
      [],
    );
    await fleet.logged(
      "the new name",
      ({ type, from, to }) =>
        type === "rename" && from === "Dana" && to === "Dana-C",
      "C",
    );
  },
);

networkTest(
  "mesh network: what is beyond the bounds is told as missed",
  async () => {
    const { wire, fleet } = await Wire.start({ flags: ["--keep", "10"] });
    await using _ = wire;
    const [a, b, c] = fleet.servers;
    const dana = await a.login("Dana");
    const lina = await c.login("Lina", { more: true });
    await dana.say("before");
    await lina.heard("before");
    wire.cut(...C_ALONE);
    await fleet.whole([a, b]);
    await fleet.whole([c]);
    for (let n = 1; n <= 30; n++) await dana.say(`meanwhile ${n}`);
    await dana.heard("meanwhile 30");
    wire.heal(...C_ALONE);
    await fleet.whole();
    await lina.heard("meanwhile 30");
    const notice = JSON.parse(await lina.line(/"code":"missed"/));
    assertEquals(notice.server, "A");
    assertEquals(
      notice.text,
      `${notice.count} messages from Server A were missed`,
    );
    // Those that were kept have come, in order, behind the notice.
    const kept = 30 - notice.count;
    assert(kept >= 1 && kept <= 10, `${kept}`);
    assertEquals(
      lina.texts,
      ["before"].concat(
        Array.from(
          { length: kept },
          (_, at) => `meanwhile ${notice.count + at + 1}`,
        ),
      ),
    );
    await fleet.logged("it", ({ type }) => type === "missed", "C");
    assertEquals(await c.metric("skein_mesh_missed_total"), notice.count);
  },
);

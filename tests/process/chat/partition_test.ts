import { Random } from "../../sim/random.ts";
import {
  freeSubnet,
  type Machine,
  Network,
  networkMissing,
} from "../network.ts";
import { ChatFleet } from "./chat_fleet.ts";
import { Load } from "./load.ts";

/** SKEIN_SEED repeats the choices of a run, though not its timing. */
const seed = Number(
  Deno.env.get("SKEIN_SEED") ?? Math.floor(Math.random() * 1e6),
);

/** Changes in a run of random ones; SKEIN_ROUNDS asks for more. */
const rounds = Number(Deno.env.get("SKEIN_ROUNDS") ?? 12);

/** Tries of clients between two changes. */
const TRIES_MAX = 40;

/** Short: many a server that is asked cannot answer. */
const ANSWER_WAIT_MS = 400;

const PATIENCE_MS = 60_000;

const NAMES = ["a", "b", "c", "w1", "w2"] as const;
type Name = typeof NAMES[number];

/** What is lost while the network is broken: everything from the first to the second. */
type Losses = readonly (readonly [readonly Name[], readonly Name[]])[];

const reason = networkMissing();

/** A test that needs network namespaces; else it says why it is left out. */
function networkTest(name: string, fn: () => Promise<void>): void {
  Deno.test({
    name: reason === undefined ? name : `${name} (skipped: ${reason})`,
    ignore: reason !== undefined,
    fn,
  });
}

/** Five machines with a node each, which this process reaches whatever is lost between them. */
class Wire implements Disposable {
  readonly #network = new Network();
  readonly machines: Readonly<Record<Name, Machine>>;

  constructor() {
    const subnet = freeSubnet();
    try {
      this.#network.join(`${subnet}.254/24`);
      const [a, b, c, w1, w2] = NAMES.map((name, at) =>
        this.#network.machine(name, `${subnet}.${at + 1}/24`)
      );
      this.machines = { a, b, c, w1, w2 };
    } catch (error) {
      this.#network[Symbol.dispose]();
      throw error;
    }
  }

  lose(losses: Losses): void {
    this.#each(losses, (from, to) => this.#network.lose(from, to));
  }

  find(losses: Losses): void {
    this.#each(losses, (from, to) => this.#network.find(from, to));
  }

  [Symbol.dispose](): void {
    this.#network[Symbol.dispose]();
  }

  #each(losses: Losses, act: (from: Machine, to: Machine) => void): void {
    for (const [senders, receivers] of losses) {
      for (const from of senders) {
        for (const to of receivers) act(this.machines[from], this.machines[to]);
      }
    }
  }
}

const CASES: readonly {
  readonly what: string;
  readonly losses: Losses;
  /** Who leads meanwhile. */
  readonly leader: Name;
  /** Who is not in the view meanwhile. */
  readonly out: readonly Name[];
}[] = [
  {
    what: "the primary is cut off from all",
    losses: [[["c"], ["a", "b", "w1", "w2"]], [["a", "b", "w1", "w2"], ["c"]]],
    leader: "b",
    out: ["c"],
  },
  {
    what: "the primary is left with one witness",
    losses: [
      [["c", "w1"], ["a", "b", "w2"]],
      [["a", "b", "w2"], ["c", "w1"]],
    ],
    leader: "b",
    out: ["c"],
  },
  {
    what: "the primary keeps a majority, without one member",
    losses: [
      [["b", "c", "w1"], ["a", "w2"]],
      [["a", "w2"], ["b", "c", "w1"]],
    ],
    leader: "c",
    out: ["a"],
  },
  {
    what: "nobody hears the primary, which hears all",
    losses: [[["c"], ["a", "b", "w1", "w2"]]],
    leader: "b",
    out: ["c"],
  },
  {
    what: "the primary hears nobody, and all hear it",
    losses: [[["a", "b", "w1", "w2"], ["c"]]],
    leader: "b",
    out: ["c"],
  },
];

for (const { what, losses, leader, out } of CASES) {
  networkTest(`chat partition: ${what}`, async () => {
    using wire = new Wire();
    await using fleet = new ChatFleet({ nodes: wire.machines });
    await fleet.startReady();
    await using load = await Load.start(fleet);
    // One client asks only a server that will be left out, and waits for it.
    const only = {
      servers: [fleet.node(out[0]).clients],
      answerWaitMs: PATIENCE_MS,
    };
    const patient = await load.join("patient", only);
    wire.lose(losses);
    const before = fleet.node(leader);
    await fleet.until(
      "those who can go on without those who cannot",
      async () => {
        const status = await before.status();
        return status?.role === "primary" && status.isWritable &&
          out.every((name) => !status.view?.members.includes(name));
      },
    );
    await load.more(60);
    for (const name of out) {
      await fleet.until(`${name} leads nobody`, async () => {
        const status = await fleet.node(name).status();
        return status?.role !== "primary" || !status.isWritable;
      });
    }
    const asked = Promise.all([load.read(patient), load.send(patient)]);
    await load.more(20);
    wire.find(losses);
    await asked;
    await fleet.complete();
    await load.more();
    await load.verify();
  });
}

networkTest(
  "chat partition: the primary and one member do not hear each other",
  async () => {
    using wire = new Wire();
    await using fleet = new ChatFleet({ nodes: wire.machines });
    await fleet.startReady();
    await using load = await Load.start(fleet);
    const losses: Losses = [[["c"], ["b"]]];
    wire.lose(losses);
    // Either of the two may stay; the rest goes on with it.
    await fleet.until("one of them is left out", async () => {
      const status = await fleet.node("a").status();
      return status?.view?.members.length === 2 && status.isWritable;
    });
    await load.more(60);
    wire.find(losses);
    await fleet.complete();
    await load.more();
    await load.verify();
  },
);

networkTest(
  `chat partition: what any node sends to any other is lost for a while, over and over (SKEIN_SEED=${seed})`,
  async () => {
    using wire = new Wire();
    await using fleet = new ChatFleet({ nodes: wire.machines });
    await fleet.startReady();
    await using load = await Load.start(fleet, {
      answerWaitMs: ANSWER_WAIT_MS,
      seed,
    });
    const random = new Random(seed);
    const lost = new Map<string, Losses>();
    for (let round = 0; round < rounds; round += 1) {
      const from = random.pick(NAMES);
      const to = random.pick(NAMES.filter((name) => name !== from));
      const losses: Losses = [[[from], [to]]];
      const name = `${from} to ${to}`;
      if (lost.delete(name)) wire.find(losses);
      else {
        lost.set(name, losses);
        wire.lose(losses);
      }
      await load.tried(random.int(TRIES_MAX));
    }
    for (const losses of lost.values()) wire.find(losses);
    await fleet.complete();
    await load.more();
    await load.verify();
  },
);

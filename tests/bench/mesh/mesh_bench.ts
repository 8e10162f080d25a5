/** The bench of the mesh: gives all systems turns, prints. */

import { takeTurns } from "../chain/rounds.ts";
import type { Workbench } from "../workbench.ts";
import type { FanOutResult, Section } from "./figures.ts";
import { Generator, TEXT_BYTES, WINDOW_MESSAGES } from "./generator.ts";
import { describeSection, describeTargets, targetsOf } from "./report.ts";
import { describeSharedLog, measureSharedLog } from "./shared_log.ts";
import {
  PEERS,
  type Server,
  skein,
  type System,
  versionOf,
} from "./systems.ts";

const SUBSCRIBERS = [100, 1_000] as const;

/** Each run so long for nothing first: code is compiled, buffers grow. */
const WARM_UP_MS = 1_000;

/** How long a turn may take beyond the time for which it is measured. */
const TURN_WAIT_MS = 60_000;

/** When no further round is begun. */
const ROUNDS_UNTIL_MS = 240_000;

/** How the bench is run. */
export interface MeshBenchOptions {
  /** How long each run is measured. */
  readonly seconds: number;
  readonly rounds: number;
  /** Where to write all figures. */
  readonly json: string | undefined;
}

/** One bench, from start to end. */
export class MeshBench {
  readonly #bench: Workbench;
  readonly #options: MeshBenchOptions;
  readonly #startMs = performance.now();
  readonly #versions: string[] = [];
  readonly #problems: string[] = [];

  constructor(bench: Workbench, options: MeshBenchOptions) {
    this.#bench = bench;
    this.#options = options;
  }

  /** Resolves when all is measured and printed. */
  async run(): Promise<void> {
    const date = new Date().toISOString();
    const systems = [...PEERS, skein].filter((system) =>
      this.#isInstalled(system)
    );
    const facts = this.#facts(date, systems);
    say(facts);
    const sections = await this.#fanOut(systems);
    for (const section of sections) say(describeSection(section));
    const sharedLog = await measureSharedLog(this.#bench, {
      seconds: this.#options.seconds,
      rounds: this.#options.rounds,
    });
    say(describeSharedLog(sharedLog));
    const targets = targetsOf({ sections, sharedLog });
    say(describeTargets(targets));
    if (this.#problems.length > 0) say(["Problems", "", ...this.#problems]);
    this.#write({ date, facts, sections, sharedLog, targets });
  }

  #facts(date: string, systems: readonly System[]): string[] {
    const { seconds, rounds } = this.#options;
    const { hardwareConcurrency } = navigator;
    return [
      `Skein's mesh beside others: one server each on loopback, ${date}`,
      `Deno ${Deno.version.deno}, V8 ${Deno.version.v8}, ${hardwareConcurrency} CPUs, ${Deno.build.os} ${Deno.osRelease()}`,
      ...this.#versions,
      ...systems.map(({ name, about }) => `${name}: ${about}`),
      `Texts of ${TEXT_BYTES} bytes, at most ${WINDOW_MESSAGES} messages ahead of the slowest client; medians of ${rounds} ${
        rounds === 1 ? "round" : "rounds"
      },`,
      `${seconds} s each; ratios (x) are medians of those within a round. Times are from the`,
      "publisher's write to a client's read. The load is one thread in C, the same for all,",
      "which checks that each client gets each message in order; it shares the CPUs with the",
      "server. CPU: the server's processor time for one delivered message; MiB: its memory.",
    ];
  }

  #isInstalled({ name, installed }: System): boolean {
    if (installed === null) return true;
    const version = versionOf(installed.version);
    this.#versions.push(
      version ??
        `${name} is not installed and left out; on Debian: apt-get install ${installed.package}`,
    );
    return version !== undefined;
  }

  #write(results: Readonly<Record<string, unknown>>): void {
    const { json, ...options } = this.#options;
    if (json === undefined) return;
    const all = {
      bench: "mesh",
      deno: Deno.version.deno,
      cpus: navigator.hardwareConcurrency,
      options,
      ...results,
      problems: this.#problems,
    };
    Deno.writeTextFileSync(json, `${JSON.stringify(all, undefined, 2)}\n`);
  }

  // Measuring

  async #fanOut(systems: readonly System[]): Promise<Section[]> {
    const generator = await Generator.compile(this.#bench);
    const ports = this.#bench.ports(systems.length);
    const wanted = this.#options.rounds;
    const { results, rounds, failures } = await takeTurns(
      systems.map((system, index) => ({
        name: system.name,
        warmUp: () => Promise.resolve(),
        run: () => this.#turn(generator, { system, port: ports[index] }),
      })),
      {
        rounds: wanted,
        runMsMax: this.#options.seconds * 2_000 + TURN_WAIT_MS,
        isTimeUp: () => performance.now() - this.#startMs > ROUNDS_UNTIL_MS,
      },
    );
    for (const [name, text] of failures) {
      this.#problems.push(`${name} is left out: ${text}`);
    }
    if (rounds < wanted) {
      this.#problems.push(`Time was up after ${rounds} of ${wanted} rounds`);
    }
    return SUBSCRIBERS.map((subscribers, at) => ({
      subscribers,
      rows: Array.from(results, ([system, turns]) => ({
        system,
        results: turns.map((turn) => turn[at]),
      })),
    }));
  }

  /** A server of its own, all cases, and its end. */
  async #turn(
    generator: Generator,
    { system, port }: { readonly system: System; readonly port: number },
  ): Promise<FanOutResult[]> {
    const server: Server = await system.start(this.#bench, port);
    const turn: FanOutResult[] = [];
    try {
      for (const subscribers of SUBSCRIBERS) {
        const measureMs = Math.round(this.#options.seconds * 1_000);
        turn.push(
          await generator.run({
            protocol: system.protocol,
            port: server.port,
            pid: server.pid,
            subscribers,
            warmUpMs: WARM_UP_MS,
            measureMs,
          }),
        );
      }
    } finally {
      await server.end();
    }
    return turn;
  }
}

function say(lines: readonly string[]): void {
  console.log(lines.join("\n") + "\n");
}

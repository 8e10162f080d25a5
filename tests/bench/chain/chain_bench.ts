/** The bench of the chain: sets all chains up, gives them turns, prints. */

import { quantile } from "../statistics.ts";
import type { Workbench } from "../workbench.ts";
import type { Row, Section } from "./figures.ts";
import {
  type Flood,
  type Floodable,
  type Load,
  makeLoad,
  type Pingable,
  UNDER_WAY_BYTES_MAX,
} from "./load.ts";
import { measureMemory } from "./memory.ts";
import { HOPS, type Peer, PEERS } from "./peers.ts";
import {
  describeMemory,
  describeSection,
  describeTargets,
  type MemoryRow,
  SKEIN,
  targetsOf,
} from "./report.ts";
import { type Contestant, takeTurns } from "./rounds.ts";
import { FramedSkeinChain, TextSkeinChain } from "./skein_chain.ts";
import { startSkeinFleet } from "./skein_fleet.ts";

const LINE_BYTES = [100, 1_024] as const;

/** Each chain runs so long for nothing first: code is compiled, buffers grow. */
const WARM_UP_MS = 300;
const WARM_UP_MESSAGES = 500;

/** Single messages of one run. */
const MESSAGES = 2_000;

/** How long a run may take beyond the time for which it sends. */
const RUN_WAIT_MS = 20_000;

/** When no further round is begun, so that the whole ends within 4 minutes. */
const ROUNDS_UNTIL_MS = 200_000;

/** How the bench is run. */
export interface ChainBenchOptions {
  /** How long each run keeps a chain full. */
  readonly seconds: number;
  readonly runs: number;
  /** Where to write all figures. */
  readonly json: string | undefined;
}

/** A chain that is set up. */
interface Contender extends Pick<Row, "system" | "processes" | "acknowledged"> {
  readonly flooded: Floodable;
  readonly pinged: Pingable | undefined;
}

/** One bench, from start to end. */
export class ChainBench {
  readonly #bench: Workbench;
  readonly #options: ChainBenchOptions;
  readonly #startMs = performance.now();
  readonly #peers: string[] = [];
  readonly #problems: string[] = [];

  constructor(bench: Workbench, options: ChainBenchOptions) {
    this.#bench = bench;
    this.#options = options;
  }

  /** Resolves when all is measured and printed. */
  async run(): Promise<void> {
    const date = new Date().toISOString();
    const contenders = await this.#open();
    const facts = this.#facts(date);
    say(facts);
    const loads = LINE_BYTES.map(makeLoad);
    const sections: Section[] = [];
    for (const load of loads) {
      sections.push(await this.#flood(contenders, load));
      say(describeSection(sections[sections.length - 1]));
    }
    for (const load of loads) {
      sections.push(await this.#ping(contenders, load));
      say(describeSection(sections[sections.length - 1]));
    }
    const memory = await this.#memory(loads[0]);
    if (memory.length > 0) say(describeMemory(memory));
    const targets = targetsOf({ sections, memory });
    say(describeTargets(targets));
    if (this.#problems.length > 0) say(["Problems", "", ...this.#problems]);
    this.#write({ date, facts, sections, memory, targets });
  }

  #facts(date: string): string[] {
    const { seconds, runs } = this.#options;
    const { hardwareConcurrency } = navigator;
    return [
      `Skein's chain beside others: ${HOPS} hops on loopback, ${date}`,
      `Deno ${Deno.version.deno}, V8 ${Deno.version.v8}, ${hardwareConcurrency} CPUs, ${Deno.build.os} ${Deno.osRelease()}`,
      ...this.#peers,
      `Medians of ${runs} runs that took turns; a pipe is kept full for ${seconds} s, ${
        UNDER_WAY_BYTES_MAX / 1_048_576
      } MiB at most under way;`,
      "ratios (x) are medians of those within a round. Sender and sink are one process;",
      "Skein's tail prints to a pipe, the others but one end in a TCP connection.",
    ];
  }

  #write(results: Readonly<Record<string, unknown>>): void {
    const { json, ...options } = this.#options;
    if (json === undefined) return;
    const all = {
      bench: "chain",
      deno: Deno.version.deno,
      cpus: navigator.hardwareConcurrency,
      options,
      ...results,
      problems: this.#problems,
    };
    Deno.writeTextFileSync(json, `${JSON.stringify(all, undefined, 2)}\n`);
  }

  // Setting up

  async #open(): Promise<Contender[]> {
    const fleet = await startSkeinFleet(this.#bench);
    const framed = new FramedSkeinChain(fleet);
    const text = new TextSkeinChain(fleet);
    const processes = HOPS;
    const contenders: Contender[] = [
      {
        system: SKEIN,
        processes,
        acknowledged: "yes",
        flooded: framed,
        pinged: framed,
      },
      {
        system: "Skein, plain text",
        processes,
        acknowledged: "when closed",
        flooded: text,
        pinged: undefined,
      },
    ];
    for (const peer of PEERS) {
      if (!this.#isInstalled(peer)) continue;
      const chain = await peer.open(this.#bench);
      contenders.push({
        system: peer.name,
        processes: peer.processes,
        acknowledged: "no",
        flooded: chain,
        pinged: chain,
      });
    }
    return contenders;
  }

  #isInstalled({ program, packageName, versionFlag }: Peer): boolean {
    if (program === undefined) return true;
    let fact: string | undefined;
    try {
      const { stdout } = new Deno.Command(program, { args: [versionFlag] })
        .outputSync();
      fact = new TextDecoder().decode(stdout).split("\n")
        .find((line) => /version \d|python \d/i.test(line))?.trim();
      fact ??= `${program}, version unknown`;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    const line = fact ??
      `${program} is not installed and left out; on Debian: apt-get install ${packageName}`;
    if (!this.#peers.includes(line)) this.#peers.push(line);
    return fact !== undefined;
  }

  // Measuring

  async #flood(
    contenders: readonly Contender[],
    load: Load,
  ): Promise<Section> {
    const forMs = this.#options.seconds * 1_000;
    const warmUpMs = Math.min(forMs, WARM_UP_MS);
    const title = `Pipe full, ${load.lineBytes}-byte lines`;
    const results = await this.#takeTurns(
      title,
      contenders.map(({ system, flooded }) => ({
        name: system,
        warmUp: () => flooded.flood(load, warmUpMs),
        run: () => flooded.flood(load, forMs),
      })),
    );
    const rows = contenders.flatMap((contender): Row[] => {
      const { system, processes, acknowledged } = contender;
      const floods = results.get(system);
      if (floods === undefined) return [];
      const row = { processes, acknowledged };
      const arrived = floods.map((flood) => rate(flood, flood.arrivedMs));
      if (acknowledged === "no") return [{ ...row, system, values: arrived }];
      const values = floods.map((flood) =>
        rate(flood, flood.acknowledgedMs ?? flood.arrivedMs)
      );
      const own = { ...row, system, values };
      if (system !== SKEIN) return [own];
      return [own, { ...row, system: "Skein, arrived", values: arrived }];
    });
    return { kind: "flood", title, lineBytes: load.lineBytes, rows };
  }

  async #ping(
    contenders: readonly Contender[],
    load: Load,
  ): Promise<Section> {
    const title = `One message at a time, ${load.lineBytes}-byte lines`;
    const results = await this.#takeTurns(
      title,
      contenders.flatMap(({ system, pinged }) =>
        pinged === undefined ? [] : [{
          name: system,
          warmUp: () => pinged.ping(load, WARM_UP_MESSAGES),
          run: () => pinged.ping(load, MESSAGES),
        }]
      ),
    );
    const rows = contenders.flatMap((contender): Row[] => {
      const { system, processes, acknowledged } = contender;
      const runs = results.get(system)?.map((tookUs) => tookUs.toSorted());
      if (runs === undefined) return [];
      const values = runs.map((sorted) => quantile(sorted, 0.5));
      const high = runs.map((sorted) => quantile(sorted, 0.99));
      return [{ system, processes, acknowledged, values, high }];
    });
    return { kind: "ping", title, lineBytes: load.lineBytes, rows };
  }

  async #takeTurns<Result>(
    title: string,
    contestants: readonly Contestant<Result>[],
  ): Promise<ReadonlyMap<string, readonly Result[]>> {
    const { runs, seconds } = this.#options;
    const { results, rounds, failures } = await takeTurns(contestants, {
      rounds: runs,
      runMsMax: seconds * 1_000 + RUN_WAIT_MS,
      isTimeUp: () => performance.now() - this.#startMs > ROUNDS_UNTIL_MS,
    });
    if (rounds < runs) {
      this.#problems.push(
        `${title}: time was up after ${rounds} of ${runs} rounds`,
      );
    }
    for (const [name, text] of failures) {
      this.#problems.push(`${title}: ${name} is left out: ${text}`);
    }
    return results;
  }

  async #memory(load: Load): Promise<MemoryRow[]> {
    const rows: MemoryRow[] = [];
    for (const isFramed of [true, false]) {
      const client = isFramed ? "client by frames" : "client by plain text";
      const memory = await measureMemory(this.#bench, { load, isFramed });
      if (memory !== undefined) rows.push({ client, memory });
    }
    return rows;
  }
}

function rate({ messages }: Flood, ms: number): number {
  return messages / (ms / 1_000);
}

function say(lines: readonly string[]): void {
  console.log(lines.join("\n") + "\n");
}

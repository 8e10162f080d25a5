/** The bench of the chat: gives all systems turns, kills leaders, prints. */

import { takeTurns } from "../chain/rounds.ts";
import type { Workbench } from "../workbench.ts";
import { type Case, CASES, CLIENTS_MAX } from "./cases.ts";
import type { Fleet } from "./fleet.ts";
import type { Failover, History, Placement, Row, Section } from "./figures.ts";
import { measureHistory } from "./history.ts";
import { runKill, runLoad } from "./load.ts";
import type { LoadResult } from "./load_plan.ts";
import {
  describeFailovers,
  describeHistory,
  describeSection,
  describeTargets,
  targetsOf,
} from "./report.ts";
import { makeSkeinSeed, type SkeinSeed } from "./skein_seed.ts";
import { PEERS, SKEIN, skein, type System, versionOf } from "./systems.ts";
import { VALUE_BYTES } from "./write_link.ts";

/** Each load runs so long for nothing first: code is compiled, buffers grow. */
const WARM_UP_MS = 700;

/** All cases of a system in a round, and its start and end. */
const ROUND_MS_MAX = 120_000;

/** When no further round is begun, and no further kill. */
const ROUNDS_UNTIL_MS = 220_000;
const KILLS_UNTIL_MS = 300_000;

const KILL_CLIENTS = 64;
const KILL_WARM_UP_MS = 500;
/** Longer, and nobody writes again. */
const KILL_WAIT_MS = 20_000;
/** Links that ask the survivors, beside the clients. */
const PROBES = 2;

/** How the bench is run. */
export interface ChatBenchOptions {
  /** How long each load is measured. */
  readonly seconds: number;
  readonly rounds: number;
  /** Of Skein's primary; others have fewer. */
  readonly kills: number;
  /** How many are stored when memory and start are looked at; 0: they are not. */
  readonly messages: number;
  /** Where to write all figures. */
  readonly json: string | undefined;
}

/** Results of one turn, by case and placement. */
type Turn = ReadonlyMap<string, LoadResult>;

/** One bench, from start to end. */
export class ChatBench {
  readonly #bench: Workbench;
  readonly #options: ChatBenchOptions;
  readonly #startMs = performance.now();
  readonly #versions: string[] = [];
  readonly #problems: string[] = [];

  constructor(bench: Workbench, options: ChatBenchOptions) {
    this.#bench = bench;
    this.#options = options;
  }

  /** Resolves when all is measured and printed. */
  async run(): Promise<void> {
    const date = new Date().toISOString();
    const peers = PEERS.filter((system) => this.#isInstalled(system));
    const facts = this.#facts(date);
    say(facts);
    const seed = await this.#seed();
    const systems = seed === undefined ? peers : [...peers, skein(seed)];
    const sections = await this.#rounds(systems);
    for (const section of sections) say(describeSection(section));
    const failovers: Failover[] = [];
    for (const system of systems) {
      const failover = await this.#failover(system);
      if (failover !== undefined) failovers.push(failover);
    }
    if (failovers.length > 0) say(describeFailovers(failovers));
    const history = await this.#history(seed);
    if (history !== undefined) say(describeHistory(history));
    const targets = targetsOf({ sections, failovers, history });
    say(describeTargets(targets));
    if (this.#problems.length > 0) say(["Problems", "", ...this.#problems]);
    this.#write({ date, facts, sections, failovers, history, targets });
  }

  #facts(date: string): string[] {
    const { seconds, rounds } = this.#options;
    const { hardwareConcurrency } = navigator;
    const durability = [...PEERS, skein(NO_SEED)].map(
      (system) => `${system.name}: a write is ${system.durability}`,
    );
    return [
      `Skein's chat beside others: three servers each on loopback, ${date}`,
      `Deno ${Deno.version.deno}, V8 ${Deno.version.v8}, ${hardwareConcurrency} CPUs, ${Deno.build.os} ${Deno.osRelease()}`,
      ...this.#versions,
      ...durability,
      `${VALUE_BYTES}-byte values; medians of ${rounds} ${
        rounds === 1 ? "round" : "rounds"
      }, ${seconds} s each; ratios (x) are medians`,
      "of those within a round, to the system's better placement. Servers and the load,",
      "which is one process of Deno that speaks each protocol itself, share the CPUs.",
      "Skein runs two witnesses as well, and its clients are logged in before. Clients of",
      "etcd share connections, 16 to 50 each.",
    ];
  }

  #isInstalled({ name, program }: System): boolean {
    if (program === null) return true;
    const version = versionOf(program.name);
    this.#versions.push(
      version ??
        `${name} is left out: ${program.name} is not installed; on Debian: apt-get install ${program.package}`,
    );
    return version !== undefined;
  }

  #write(results: Readonly<Record<string, unknown>>): void {
    const { json, ...options } = this.#options;
    if (json === undefined) return;
    const all = {
      bench: "chat",
      deno: Deno.version.deno,
      cpus: navigator.hardwareConcurrency,
      options,
      ...results,
      problems: this.#problems,
    };
    Deno.writeTextFileSync(json, `${JSON.stringify(all, undefined, 2)}\n`);
  }

  // Measuring

  async #seed(): Promise<SkeinSeed | undefined> {
    try {
      return await makeSkeinSeed(this.#bench, CLIENTS_MAX + PROBES);
    } catch (error) {
      this.#problem(`${SKEIN} is left out`, error);
      return undefined;
    }
  }

  async #rounds(systems: readonly System[]): Promise<Section[]> {
    const wanted = this.#options.rounds;
    const { results, rounds, failures } = await takeTurns(
      systems.map((system) => ({
        name: system.name,
        warmUp: () => Promise.resolve(),
        run: () => this.#turn(system),
      })),
      {
        rounds: wanted,
        runMsMax: ROUND_MS_MAX,
        isTimeUp: () => this.#isAfter(ROUNDS_UNTIL_MS),
      },
    );
    for (const [name, text] of failures) this.#problem(name, text);
    if (rounds < wanted) {
      this.#problem("Rounds", `time was up after ${rounds} of ${wanted}`);
    }
    return CASES.map((one) => sectionOf(one, results));
  }

  /** A fleet of its own, all cases, and its end. */
  async #turn(system: System): Promise<Turn> {
    const turn = new Map<string, LoadResult>();
    const fleet = await system.start(this.#bench);
    try {
      for (const one of CASES) {
        for (const placement of placementsOf(one)) {
          const key = keyOf(one, placement);
          try {
            const load = { system, fleet, one, placement };
            turn.set(key, await this.#load(load));
          } catch (error) {
            this.#problem(`${system.name}, ${key}`, error);
          }
        }
      }
    } finally {
      await fleet.end();
    }
    return turn;
  }

  async #load(
    { system, fleet, one, placement }: {
      readonly system: System;
      readonly fleet: Fleet;
      readonly one: Case;
      readonly placement: Placement;
    },
  ): Promise<LoadResult> {
    const measureMs = this.#options.seconds * 1_000;
    const ports = placement === "at all three"
      ? [...fleet.ports]
      : [fleet.ports[await fleet.leader()]];
    const result = await runLoad(this.#bench, {
      kind: "load",
      protocol: system.protocol,
      ports,
      ...one.shapes[system.protocol],
      warmUpMs: Math.min(WARM_UP_MS, measureMs),
      measureMs,
      pids: [...fleet.pids],
      ...system.sessions !== undefined && { sessions: system.sessions },
    });
    if (result.refused > 0) {
      const text = `${result.refused} writes were refused: ${result.refusal}`;
      this.#problem(`${system.name}, ${keyOf(one, placement)}`, text);
    }
    return result;
  }

  async #failover(system: System): Promise<Failover | undefined> {
    const kills = Math.ceil(this.#options.kills * system.killShare);
    const gapsMs: number[] = [];
    try {
      const fleet = await system.start(this.#bench);
      try {
        while (gapsMs.length < kills && !this.#isAfter(KILLS_UNTIL_MS)) {
          gapsMs.push(await this.#kill(system, fleet));
        }
      } finally {
        await fleet.end();
      }
    } catch (error) {
      this.#problem(`${system.name}, kill ${gapsMs.length + 1}`, error);
    }
    if (gapsMs.length < kills) {
      const text = `${gapsMs.length} of ${kills} kills were measured`;
      this.#problem(system.name, text);
    }
    return gapsMs.length === 0 ? undefined : { system: system.name, gapsMs };
  }

  async #kill(system: System, fleet: Fleet): Promise<number> {
    const victim = await fleet.leader();
    const { gapMs } = await runKill(this.#bench, {
      kind: "kill",
      protocol: system.protocol,
      ports: [...fleet.ports],
      victim,
      victimPid: fleet.pidOf(victim),
      connections: KILL_CLIENTS,
      warmUpMs: KILL_WARM_UP_MS,
      waitMsMax: KILL_WAIT_MS,
      ...system.sessions !== undefined && { sessions: system.sessions },
    });
    await fleet.restart(victim);
    await fleet.whole();
    return gapMs;
  }

  async #history(seed: SkeinSeed | undefined): Promise<History | undefined> {
    const { messages } = this.#options;
    if (seed === undefined || messages === 0) return undefined;
    try {
      return await measureHistory(this.#bench, { seed, messages });
    } catch (error) {
      this.#problem("Memory and start", error);
      return undefined;
    }
  }

  #isAfter(ms: number): boolean {
    return performance.now() - this.#startMs > ms;
  }

  #problem(what: string, error: unknown): void {
    const text = error instanceof Error ? error.message : `${error}`;
    this.#problems.push(`${what}: ${text}`);
  }
}

const NO_SEED: SkeinSeed = { folder: "", sessions: "" };

function placementsOf(one: Case): readonly Placement[] {
  return one.isSpread ? ["at the leader", "at all three"] : ["at the leader"];
}

function keyOf(one: Case, placement: Placement): string {
  return `${one.name}, ${placement}`;
}

/** A system that failed in one round has no row: its rounds would not match. */
function sectionOf(
  one: Case,
  turns: ReadonlyMap<string, readonly Turn[]>,
): Section {
  const rows: Row[] = [];
  for (const [system, rounds] of turns) {
    for (const placement of placementsOf(one)) {
      const results = rounds.map((turn) => turn.get(keyOf(one, placement)))
        .filter((result) => result !== undefined);
      if (results.length === 0 || results.length < rounds.length) continue;
      rows.push({ system, placement, results });
    }
  }
  return { case: one.name, title: one.title, rows };
}

function say(lines: readonly string[]): void {
  console.log(lines.join("\n") + "\n");
}

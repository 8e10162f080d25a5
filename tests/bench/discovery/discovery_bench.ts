/** The bench of discovery: starts groups in turns, kills one node of each, prints. */

import { type Machine, Network } from "../../process/network.ts";
import type { Workbench } from "../workbench.ts";
import type { Run } from "./figures.ts";
import { Group, type GroupNode } from "./group.ts";
import { describeRuns, type SystemRuns } from "./report.ts";
import { serf, SERF_PROGRAM, serfVersion } from "./serf.ts";
import { skein } from "./skein.ts";
import type { MemberList, System } from "./system.ts";

const NODES = 3;

/** How the bench is run. */
export interface DiscoveryBenchOptions {
  /** Groups of each system. */
  readonly runs: number;
  /** Where to write all figures. */
  readonly json: string | undefined;
  /** Takes the networks; to be disposed of after the workbench. */
  readonly networks: DisposableStack;
}

/** A system, its machines, and what became of its runs. */
interface Contestant {
  readonly system: System;
  readonly machines: readonly Machine[];
  readonly runs: (Run | undefined)[];
}

/** One bench, from start to end; in a network of its own. */
export class DiscoveryBench {
  readonly #bench: Workbench;
  readonly #options: DiscoveryBenchOptions;
  readonly #problems: string[] = [];

  constructor(bench: Workbench, options: DiscoveryBenchOptions) {
    this.#bench = bench;
    this.#options = options;
  }

  /** Resolves when all is measured and printed. */
  async run(): Promise<void> {
    const date = new Date().toISOString();
    const version = serfVersion();
    say(this.#facts(date, version));
    const systems = version === undefined ? [skein] : [skein, serf];
    const contestants = systems.map((system, index): Contestant => {
      const network = this.#options.networks.use(new Network());
      return { system, machines: wire(network, { system, index }), runs: [] };
    });
    const { runs } = this.#options;
    for (let round = 0; round < runs; round++) {
      for (const one of contestants) {
        one.runs.push(await this.#turn(one, round));
      }
    }
    const [first, base] = contestants.map(({ system, runs }): SystemRuns => ({
      system: system.name,
      runs,
    }));
    const load = `Load when it was over: ${loadText()}`;
    say([...describeRuns(first, base), "", load]);
    if (this.#problems.length > 0) say(["Problems", "", ...this.#problems]);
    this.#write({ date, version, systems: base ? [first, base] : [first] });
  }

  #facts(date: string, version: string | undefined): string[] {
    const { hardwareConcurrency } = navigator;
    const { name, package: packageName } = SERF_PROGRAM;
    const folder = Deno.env.get("SKEIN_BIN") ?? "";
    const how = folder === ""
      ? "by `deno run`, as in a checkout"
      : `as an executable, from ${folder}`;
    return [
      `Skein's chat without a flag beside serf: three hosts on a bridge, ${date}`,
      `Deno ${Deno.version.deno}, V8 ${Deno.version.v8}, ${hardwareConcurrency} CPUs, ${Deno.build.os} ${Deno.osRelease()}; load before: ${loadText()}`,
      version ??
        `serf is left out: ${name} is not installed; on Debian: apt-get install ${packageName}`,
      "",
      "Each host is a network namespace. A group is begun by two nodes; the third is",
      `started when they have settled. Skein is started ${how};`,
      "serf with -discover (mDNS), -iface, -node and -rpc-addr, and a route for multicast.",
      "Every node is asked over a connection that stays open, 2 ms after its last answer:",
      "Skein for its status, serf for its members by RPC. Skein's member keeps all that was",
      "written, synced, and votes; serf's has a list. Skein's leader is killed while a client",
      "writes to it, a write at a time; from the SIGKILL on others write at both survivors.",
    ];
  }

  #write(results: Readonly<Record<string, unknown>>): void {
    const { json, runs } = this.#options;
    if (json === undefined) return;
    const all = {
      bench: "discovery",
      deno: Deno.version.deno,
      cpus: navigator.hardwareConcurrency,
      runs,
      ...results,
      problems: this.#problems,
    };
    Deno.writeTextFileSync(json, `${JSON.stringify(all, undefined, 2)}\n`);
  }

  // Measuring

  /** A group of its own, and its end. */
  async #turn(
    { system, machines }: Contestant,
    round: number,
  ): Promise<Run | undefined> {
    const group = new Group(this.#bench, { system, machines });
    try {
      const joined = await measureJoin(group);
      return { ...joined, ...await measureKill(group, { system, round }) };
    } catch (error) {
      const text = error instanceof Error ? error.message : `${error}`;
      this.#problems.push(`${system.name}, run ${round + 1}: ${text}`);
      return undefined;
    } finally {
      await group.end();
    }
  }
}

/** Machines with addresses that no other system's have. */
function wire(
  network: Network,
  { system, index }: { readonly system: System; readonly index: number },
): Machine[] {
  const subnet = `10.211.${index}`;
  network.join(`${subnet}.254/24`);
  return Array.from({ length: NODES }, (_, host) => {
    const machine = network.machine(
      `host-${host + 1}`,
      `${subnet}.${host + 1}/24`,
    );
    system.prepare(machine);
    return machine;
  });
}

async function measureJoin(
  group: Group,
): Promise<Pick<Run, "firstLineMs" | "memberMs" | "allMs">> {
  while (group.nodes.length < NODES - 1) {
    await group.add();
    await group.until(
      "members",
      group.nodes,
      (list) => isWhole(list, group.nodes.length) && list.isSettled,
    );
  }
  const { program, ...node } = await group.add();
  const { startMs } = program;
  const isWholeNow = (list: MemberList) => isWhole(list, NODES);
  const memberAtMs = await group.until(
    "a third member",
    [{ program, ...node }],
    isWholeNow,
  );
  const allAtMs = await group.until("members", group.nodes, isWholeNow);
  return {
    firstLineMs: program.firstLineMs - startMs,
    memberMs: memberAtMs - program.firstLineMs,
    allMs: allAtMs - startMs,
  };
}

async function measureKill(
  group: Group,
  { system, round }: { readonly system: System; readonly round: number },
): Promise<Pick<Run, "goneMs" | "writtenMs">> {
  await group.until(
    "three that have settled",
    group.nodes,
    (list) => isWhole(list, NODES) && list.isSettled,
  );
  const victim = await leaderOf(group.nodes) ??
    group.nodes[round % group.nodes.length];
  const survivors = group.nodes.filter((node) => node !== victim);
  const writes = await system.write?.({
    leader: victim.machine,
    survivors: survivors.map(({ machine }) => machine),
  });
  try {
    await writes?.warm();
    const killMs = performance.now();
    victim.program.kill();
    const [goneAtMs, writtenAtMs] = await Promise.all([
      group.until(
        "two that are left",
        survivors,
        (list) => list.names.length === survivors.length,
      ),
      writes?.next(),
    ]);
    return {
      goneMs: goneAtMs - killMs,
      writtenMs: writtenAtMs === undefined ? undefined : writtenAtMs - killMs,
    };
  } finally {
    writes?.close();
  }
}

function isWhole(list: MemberList, count: number): boolean {
  return list.isIn && list.names.length === count;
}

/** Undefined where nobody leads. */
async function leaderOf(
  nodes: readonly GroupNode[],
): Promise<GroupNode | undefined> {
  for (const node of nodes) {
    const { self, leader } = await node.link.members();
    if (leader === self) return node;
  }
  return undefined;
}

function loadText(): string {
  return Deno.loadavg()[0].toFixed(2);
}

function say(lines: readonly string[]): void {
  console.log(lines.join("\n") + "\n");
}

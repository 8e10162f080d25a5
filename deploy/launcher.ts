/** Starts a fleet, watches it, and stops it: no node outlives its launcher. */

import { formatAddress } from "../protocol/address.ts";
import { FleetStates } from "./fleet_state.ts";
import type { Fleet } from "./fleets.ts";
import { describeExit, NodeProcess } from "./node_process.ts";
import { type PortHolder, takenPorts } from "./ports.ts";
import { isAlive, type ProcessId, processId } from "./process_id.ts";
import type { Screen } from "./screen.ts";
import { StopRequest } from "./stop_request.ts";
import { within } from "./within.ts";

/** Long enough for four nodes that start at once on a busy laptop. */
export const READY_WAIT_MS = 30_000;
/** What a node has to end in order. */
export const STOP_WAIT_MS = 5_000;
const KILL_WAIT_MS = 2_000;
const PRINT_WAIT_MS = 1_000;

/** How a launcher works. */
export interface LauncherOptions {
  /** The command that is followed by each node's own arguments. */
  readonly program: readonly string[];
  readonly screen: Screen;
  readonly states: FleetStates;
  /** How long nodes may take until they are ready; usually {@linkcode READY_WAIT_MS}. */
  readonly readyWaitMs: number;
  /** Delete what the fleet kept from earlier runs before anything starts. */
  readonly fresh: boolean;
}

interface Ready {
  readonly kind: "ready";
}

interface NotReady {
  readonly kind: "not-ready";
  /** Which node, why, and what it printed last. */
  readonly lines: readonly string[];
}

interface Stop {
  readonly kind: "stop";
  readonly reason: string;
}

/** Runs one fleet from start to end. */
export class Launcher {
  readonly #fleet: Fleet;
  readonly #options: LauncherOptions;
  readonly #nodes: NodeProcess[] = [];
  readonly #reports: Promise<void>[] = [];
  readonly #request = new StopRequest();
  #phase: "starting" | "running" | "stopping" = "starting";

  constructor(fleet: Fleet, options: LauncherOptions) {
    this.#fleet = fleet;
    this.#options = options;
  }

  /**
   * Starts all nodes and returns when all have ended.
   *
   * @returns The exit code: 0 if it was asked to stop and each node ended in
   * order; else 1, and the reason was printed.
   */
  async run(): Promise<number> {
    const { states } = this.#options;
    const refusals = whyNotStart(this.#fleet, states);
    if (refusals.length > 0) {
      console.error(refusals.join("\n"));
      this.#request.close();
      return 1;
    }
    try {
      // Only now that nothing runs which could have it open.
      if (this.#options.fresh) deleteData(this.#fleet);
      return await this.#run();
    } finally {
      for (const node of this.#nodes) node.kill("SIGKILL");
      states.remove(this.#fleet.name);
      this.#request.close();
    }
  }

  async #run(): Promise<number> {
    const { screen } = this.#options;
    this.#start();
    const asked = Promise.race([
      this.#request.stop.then((name) => stopping(`${name}: stopping`)),
      screen.broken.then(() => stopping("Nobody reads: stopping")),
    ]);
    const first = await Promise.race([asked, this.#ready()]);
    switch (first.kind) {
      case "not-ready":
        await screen.say(...first.lines);
        await this.#stop("Stopping the others");
        return 1;
      case "stop":
        return await this.#stop(first.reason);
      case "ready":
        this.#phase = "running";
        await screen.say("", ...this.#fleet.howToReach, "Ctrl-C stops all", "");
    }
    const next = await Promise.race([asked, this.#allEnded()]);
    if (next.kind === "stop") return await this.#stop(next.reason);
    await screen.say("All nodes have ended");
    return 1;
  }

  #start(): void {
    const { program, screen, states } = this.#options;
    const launcher = ownProcessId();
    states.write({ fleet: this.#fleet.name, launcher, nodes: [] });
    for (const node of this.#fleet.nodes) {
      const started = new NodeProcess(node, { program, screen });
      this.#nodes.push(started);
      this.#reports.push(started.exited.then(() => this.#report(started)));
      states.write({
        fleet: this.#fleet.name,
        launcher,
        nodes: this.#nodes.flatMap(({ node: { name }, id }) =>
          id === undefined ? [] : [{ name, ...id }]
        ),
      });
    }
  }

  /** Says that a node has ended by itself, after what it printed last. */
  async #report(node: NodeProcess): Promise<void> {
    if (this.#phase !== "running" || node.exit === undefined) return;
    await node.printed(PRINT_WAIT_MS);
    await this.#options.screen.say(
      `${node.node.name} ended ${
        describeExit(node.exit)
      }; the others go on, nothing restarts it`,
    );
  }

  async #ready(): Promise<Ready | NotReady> {
    const { readyWaitMs } = this.#options;
    const waiting = this.#nodes.map(async (node) => {
      const reason = await node.ready(readyWaitMs);
      if (reason !== undefined) throw new NodeNotReady(node, reason);
    });
    // One that was ready may end while others still wait for it.
    const ending = this.#nodes.map(async (node) => {
      throw new NodeNotReady(
        node,
        `it ended ${describeExit(await node.exited)}`,
      );
    });
    try {
      await Promise.race([Promise.all(waiting), ...ending]);
      return { kind: "ready" };
    } catch (error) {
      if (!(error instanceof NodeNotReady)) throw error;
      const { node } = error;
      if (node.exit !== undefined) await node.printed(PRINT_WAIT_MS);
      return { kind: "not-ready", lines: error.lines() };
    }
  }

  async #allEnded(): Promise<{ readonly kind: "ended" }> {
    await Promise.all(this.#nodes.map((node) => node.exited));
    await Promise.all(this.#reports);
    return { kind: "ended" };
  }

  async #stop(reason: string): Promise<number> {
    const { screen } = this.#options;
    this.#phase = "stopping";
    const before = this.#nodes.filter((node) => node.exit !== undefined);
    const running = this.#nodes.filter((node) => node.exit === undefined);
    if (running.length > 0) screen.say(reason);
    for (const node of running) node.kill("SIGTERM");
    const ended = Promise.all(running.map((node) => node.exited));
    await within(STOP_WAIT_MS, [ended, this.#request.kill]);
    for (const node of running) {
      if (node.exit !== undefined) continue;
      screen.say(`${node.node.name} did not end, killing it`);
      node.kill("SIGKILL");
    }
    await within(KILL_WAIT_MS, [ended]);
    await this.#printed();
    // SIGTERM also ends a node that has only just begun and does not listen yet.
    const unclean = [
      ...before.filter(({ exit }) => exit?.code !== 0),
      ...running.filter(({ exit }) =>
        exit?.code !== 0 && exit?.signal !== "SIGTERM"
      ),
    ];
    await screen.say(
      unclean.length === 0
        ? "All nodes have stopped"
        : `Not all nodes ended in order: ${
          unclean.map(({ node, exit }) =>
            `${node.name} ${
              exit === undefined ? "still runs" : describeExit(exit)
            }`
          ).join(", ")
        }`,
    );
    return unclean.length === 0 ? 0 : 1;
  }

  async #printed(): Promise<void> {
    await Promise.all(this.#nodes.map((node) => node.printed(PRINT_WAIT_MS)));
  }
}

function deleteData({ data }: Fleet): void {
  if (data === undefined) return;
  try {
    Deno.removeSync(data, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function stopping(reason: string): Stop {
  return { kind: "stop", reason };
}

class NodeNotReady extends Error {
  readonly node: NodeProcess;

  constructor(node: NodeProcess, reason: string) {
    super(reason);
    this.node = node;
  }

  lines(): string[] {
    const { lastLines, node } = this.node;
    return [
      `${node.name} is not ready: ${this.message}`,
      lastLines.length === 0 ? "It printed nothing" : "Its last lines:",
      ...lastLines.map((line) => `  ${line}`),
    ];
  }
}

/** Lines that say what stands in the way; none if nothing does. */
function whyNotStart(fleet: Fleet, states: FleetStates): string[] {
  const running = states.read().filter((state) =>
    [state.launcher, ...state.nodes].some(isAlive)
  );
  const inTheWay = new Set<string>();
  const describe = ({ pid, command }: PortHolder) => {
    for (const state of running) {
      const node = state.nodes.find((process) => process.pid === pid);
      if (node === undefined || !isAlive(node)) continue;
      inTheWay.add(state.fleet);
      return `process ${pid}: ${node.name} of the fleet ${state.fleet}`;
    }
    return `process ${pid}: ${command}`;
  };
  const lines = fleet.nodes.flatMap((node) =>
    takenPorts(node.listens).map(({ address, holders }) => {
      const by = holders.map((holder) => ` by ${describe(holder)}`).join(
        ", and",
      );
      return `Cannot start ${node.name}: ${
        formatAddress(address)
      } is taken${by}`;
    })
  );
  const same = running.find((state) => state.fleet === fleet.name);
  if (lines.length === 0 && same !== undefined) {
    lines.push(`Cannot start the fleet ${fleet.name}: it has not ended yet`);
    inTheWay.add(fleet.name);
  }
  if (inTheWay.size > 0) {
    lines.push(
      `To end the fleet ${[...inTheWay].join(", ")}: deno task cluster stop`,
    );
  }
  return lines;
}

function ownProcessId(): ProcessId {
  const id = processId(Deno.pid);
  if (id === undefined) throw new Error("Cannot find our own process");
  return id;
}

/** Nodes of one system, each on a machine of its own. */

import type { Machine } from "../../process/network.ts";
import type { Workbench } from "../workbench.ts";
import { HostProgram } from "./host_program.ts";
import type { MemberLink, MemberList, System } from "./system.ts";

/** A node is asked again so long after its last answer. */
const ASK_EVERY_MS = 2;

/** Longer, and it has failed; serf's agents take some seconds to miss one. */
const WAIT_MS = 30_000;

/** A node that runs, and a connection to it that stays open. */
export interface GroupNode {
  readonly machine: Machine;
  readonly program: HostProgram;
  readonly link: MemberLink;
}

/** Started node by node, and ended as one. */
export class Group {
  readonly nodes: GroupNode[] = [];
  readonly #bench: Workbench;
  readonly #system: System;
  readonly #machines: readonly Machine[];

  constructor(
    bench: Workbench,
    { system, machines }: {
      readonly system: System;
      readonly machines: readonly Machine[];
    },
  ) {
    this.#bench = bench;
    this.#system = system;
    this.#machines = machines;
  }

  /** Starts the next node; resolves when it lets itself be asked. */
  async add(): Promise<GroupNode> {
    const machine = this.#machines[this.nodes.length];
    const { firstLine } = this.#system;
    const command = this.#system.command(machine);
    const starting = HostProgram.start(this.#bench, {
      ...{ machine, command, firstLine },
    });
    try {
      const [program, link] = await Promise.all([
        starting,
        soon(() => this.#system.connect(machine), `a node of ${this.#name}`),
      ]);
      const node = { machine, program, link };
      this.nodes.push(node);
      return node;
    } catch (error) {
      // The next group has the same machines.
      await starting.then((program) => program.end(), () => {});
      throw error;
    }
  }

  /**
   * Asks these nodes, again and again, until each has said so once.
   *
   * @returns When the last one did, as `performance.now()`.
   */
  async until(
    what: string,
    nodes: readonly GroupNode[],
    isSo: (list: MemberList) => boolean,
  ): Promise<number> {
    const said = nodes.map(({ link }) =>
      soon(async () => {
        const list = await link.members();
        return isSo(list) ? performance.now() : undefined;
      }, `${what} of ${this.#name}`)
    );
    return Math.max(...await Promise.all(said));
  }

  /** Ends all of it at once. */
  async end(): Promise<void> {
    const nodes = this.nodes.splice(0);
    for (const { link } of nodes) link.close();
    await Promise.all(nodes.map(({ program }) => program.end()));
  }

  get #name(): string {
    return this.#system.name;
  }
}

/**
 * Tries again and again until something comes of it.
 *
 * @param attempt Undefined, or an error: not yet.
 * @throws {Error} When it is not in time.
 */
async function soon<T>(
  attempt: () => Promise<T | undefined>,
  what: string,
): Promise<T> {
  const deadlineMs = performance.now() + WAIT_MS;
  let cause: unknown;
  while (performance.now() < deadlineMs) {
    try {
      const found = await attempt();
      if (found !== undefined) return found;
    } catch (error) {
      cause = error;
    }
    await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
  }
  throw new Error(`Waited ${WAIT_MS / 1_000} s for ${what}`, { cause });
}

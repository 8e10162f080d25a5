/** Messages that are followed on their way to every server. */

import type { NodeId } from "../../protocol/ids.ts";
import type {
  MeshRequestId,
  Topology,
  TraceReport,
} from "../../protocol/mesh.ts";
import type { MeshContext } from "./context.ts";
import { Budget } from "./budget.ts";
import type { ClientNumber } from "./contract.ts";

/**
 * Traces that a server begins within `traceMs`: each one makes every server
 * speak to all others, and takes a place among the recent events of each.
 */
export const TRACES_MAX = 8;

interface OpenTrace {
  readonly client: ClientNumber;
  readonly id: MeshRequestId | undefined;
  readonly topology: Topology;
  readonly startMs: number;
  /** Servers that have not reported. */
  readonly missing: Set<NodeId>;
  readonly reports: TraceReport[];
}

export class Traces {
  readonly #context: MeshContext;
  readonly #open = new Map<number, OpenTrace>();
  readonly #begun: Budget;
  #next = 1;

  constructor(context: MeshContext) {
    this.#context = context;
    const { traceMs } = context.options.timing;
    this.#begun = new Budget({ max: TRACES_MAX, windowMs: traceMs });
  }

  /** Also when they are over, or nobody waits for them: they have cost the same. */
  get isFull(): boolean {
    return this.#begun.isSpent(this.#context.nowMs);
  }

  /** Monotonic: when the next one is over. */
  get dueMs(): number {
    let dueMs = Infinity;
    for (const { startMs } of this.#open.values()) {
      dueMs = Math.min(dueMs, startMs + this.#context.options.timing.traceMs);
    }
    return dueMs;
  }

  /** @returns The trace's number. */
  begin(
    of: { client: ClientNumber; id: MeshRequestId | undefined },
    to: { topology: Topology; servers: readonly NodeId[] },
  ): number {
    const trace = this.#next++;
    this.#begun.spend(this.#context.nowMs);
    this.#open.set(trace, {
      ...of,
      topology: to.topology,
      startMs: this.#context.nowMs,
      missing: new Set(to.servers),
      reports: [],
    });
    return trace;
  }

  /** A server says how a trace came to it. */
  report(trace: number, path: readonly NodeId[]): void {
    const open = this.#open.get(trace);
    const server = path.at(-1);
    if (open === undefined || server === undefined) return;
    if (!open.missing.delete(server)) return;
    const ms = Math.round((this.#context.nowMs - open.startMs) * 100) / 100;
    open.reports.push({ server, path, ms });
  }

  /** Tells those of whom all have reported, and whose time is over. */
  finish(): void {
    const { nowMs, options } = this.#context;
    for (const [trace, open] of this.#open) {
      const isOver = nowMs - open.startMs >= options.timing.traceMs;
      if (open.missing.size > 0 && !isOver) continue;
      this.#open.delete(trace);
      const { client, id, topology, reports } = open;
      this.#context.tell([client], {
        ...{ type: "trace", id, topology },
        reports: reports.sort((a, b) => a.server < b.server ? -1 : 1),
        missing: [...open.missing].sort(),
      });
    }
  }

  clientGone(client: ClientNumber): void {
    for (const [trace, open] of this.#open) {
      if (open.client === client) this.#open.delete(trace);
    }
  }
}

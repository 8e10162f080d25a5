/** Linearizable reads for which this node asks the primary. */

import type { StoreId } from "../../../protocol/epoch.ts";
import type { ReplicaContext } from "./context.ts";

/** Reads under way; what is beyond fails at once. */
const READS_MAX = 16_384;

/** Remembers which reads were asked for, and gives up those that take too long. */
export class RemoteReads {
  readonly #context: ReplicaContext;
  /** By token: when it was asked for. */
  readonly #open = new Map<number, number>();

  constructor(context: ReplicaContext) {
    this.#context = context;
  }

  ask(token: number, primary: StoreId): void {
    const { membership, nowMs } = this.#context;
    if (this.#open.size >= READS_MAX || !membership.isUp(primary)) {
      return this.fail(token);
    }
    this.#open.set(token, nowMs);
    this.#context.send(primary, { kind: "read-index", token });
  }

  answered(token: number, index: number | undefined): void {
    if (!this.#open.delete(token)) return;
    if (index === undefined) return this.fail(token);
    this.#context.emit({ kind: "read-ready", token, index });
  }

  fail(token: number): void {
    this.#open.delete(token);
    this.#context.emit({ kind: "read-failed", token });
  }

  failAll(): void {
    for (const token of [...this.#open.keys()]) this.fail(token);
  }

  tick(): void {
    const { nowMs, options: { timing } } = this.#context;
    for (const [token, sinceMs] of this.#open) {
      if (nowMs - sinceMs < timing.electionMs * 2) return;
      this.fail(token);
    }
  }
}

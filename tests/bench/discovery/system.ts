/** What is measured side by side. */

import type { Machine } from "../../process/network.ts";

/** Who takes part, as one node says. */
export interface MemberList {
  /** The node that says it. */
  readonly self: string;
  /** Whether it is one of them itself. */
  readonly isIn: boolean;
  /** Those that work, by name. */
  readonly names: readonly string[];
  /** Who leads them, where somebody does. */
  readonly leader: string | undefined;
  /** Whether nothing more is to change, as far as is known. */
  readonly isSettled: boolean;
}

/** A connection to a node. */
export interface MemberLink {
  /** Asks once; one at a time. */
  members(): Promise<MemberList>;
  close(): void;
}

/** A client that writes, and others that see whether one can. */
export interface Writes {
  /** Resolves when the client has written for a while. */
  warm(): Promise<void>;
  /**
   * Writes from now on at every survivor.
   *
   * @returns When the first of these writes was acknowledged, as `performance.now()`.
   */
  next(): Promise<number>;
  close(): void;
}

/** One of the systems. */
export interface System {
  readonly name: string;
  /** The first line that a node prints. */
  readonly firstLine: RegExp;
  /** Makes a machine ready for its nodes, once. */
  prepare(machine: Machine): void;
  /** What a node is started with, there. */
  command(machine: Machine): readonly string[];
  /** @throws {Error} Also when nobody listens yet. */
  connect(machine: Machine): Promise<MemberLink>;
  /** A light load on the leader; absent where there is nothing to write. */
  write?(at: {
    readonly leader: Machine;
    readonly survivors: readonly Machine[];
  }): Promise<Writes>;
}

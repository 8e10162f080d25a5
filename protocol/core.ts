/** The contract between a core, which decides, and its host, which acts. */

import type { WireError } from "./errors.ts";

/**
 * A state machine without I/O, clock or dice: the same code runs on a machine
 * and, thousands of clusters a minute, in simulated time.
 *
 * The host, and identically the simulator, promises:
 *
 * - one input at a time, and a step's effects in their order;
 * - a link is TCP: bytes in order, no duplicates, at failure a prefix, then
 *   `link-down`, then nothing more with that link's number, ever;
 * - an effect that is answered (`read`, `write`, …) is answered once, unless
 *   the link goes down or is closed first;
 * - a report that something is durable comes after the sync, and whatever
 *   depends on it is emitted in answer to the report, not before;
 * - a timer set before a crash never fires after it.
 */
export interface Core<Input, Effect> {
  /**
   * Handles one input and returns what the host is to do, in order.
   *
   * @param nowMs Monotonic milliseconds, from any origin.
   */
  step(input: Input, nowMs: number): Effect[];
  /** One line of state, for transcripts and operators. */
  describe(): string;
}

/** Numbers one connection within one process; never used twice. */
export type LinkId = number;

/** What the host reports about links whose bytes a core handles itself. */
export type LinkInput =
  /** The bytes asked for by `read` are in its buffer: `length` ≥ 1 of them. */
  | { readonly kind: "read"; readonly link: LinkId; readonly length: number }
  /** The peer has closed its side cleanly; nothing more will be read. */
  | { readonly kind: "ended"; readonly link: LinkId }
  /** The whole of the last `write` was handed to the operating system. */
  | { readonly kind: "written"; readonly link: LinkId }
  /** The link is gone, and with it what was in flight. */
  | {
    readonly kind: "link-down";
    readonly link: LinkId;
    readonly reason: string;
  };

/** What a core asks of links. At most one `read` and one `write` of a link are open. */
export type LinkEffect =
  /** Read 1 to `into.length` bytes into `into`, which the host owns until it answers. */
  | { readonly kind: "read"; readonly link: LinkId; readonly into: Uint8Array }
  /** Write all of `bytes`, which must not change until `written` or `link-down`. */
  | {
    readonly kind: "write";
    readonly link: LinkId;
    readonly bytes: Uint8Array;
  }
  /**
   * Close after what was written, telling the peer why if there is an error.
   * No further input comes from this link.
   */
  | {
    readonly kind: "close";
    readonly link: LinkId;
    readonly error?: WireError;
  };

/** The way down the chain: links to successors, what is sent, what is acknowledged. */

import { readAnswers, type Route } from "../../protocol/chain.ts";
import type { LinkId } from "../../protocol/core.ts";
import { WireError } from "../../protocol/errors.ts";
import { FrameReader } from "../../protocol/frame.ts";
import { PeerError } from "../../protocol/handshake.ts";
import type { Acknowledged, Outbox } from "../../protocol/outbox.ts";
import type { ChainEffect, ChainInput, ChainOptions } from "./contract.ts";
import { type Problem, Successors } from "./successors.ts";

/** Bytes of a read of a successor's answers, which are short. */
const ANSWER_READ_BYTES = 16_384;

/** Entries of what is not yet told as forwarded; beyond it the last one grows. */
const UNTOLD_MAX = 1_000;

/** What the core lends to its way down, and wants to hear of it. */
export interface DownstreamHost<Source> {
  readonly outbox: Outbox<Source>;
  emit(effect: ChainEffect): void;
  /** Sources got further; `before` is where the queue began until now. */
  acknowledged(done: readonly Acknowledged<Source>[], before: number): void;
  routeChanged(route: Route): void;
}

/** A link to a successor: its answers are few, and read as frames. */
interface Link {
  readonly target: number;
  readonly reader: FrameReader;
  readonly into: Uint8Array<ArrayBuffer>;
  isWriting: boolean;
}

/** Sends the outbox to whichever successor leads to the tail. */
export class Downstream<Source> {
  readonly #options: ChainOptions;
  readonly #host: DownstreamHost<Source>;
  readonly #outbox: Outbox<Source>;
  readonly #successors: Successors;
  readonly #links = new Map<LinkId, Link>();
  /** The route last told, as text. */
  #told: string;
  /** While traffic is about to go back to the first choice. */
  #returning: { readonly end: number; readonly sinceMs: number } | undefined;
  /** For `--print`: messages not yet handed on, by queue position. */
  #untold: { readonly end: number; readonly messages: number }[] = [];
  /** Times the traffic was turned. */
  switches = 0;

  constructor(options: ChainOptions, host: DownstreamHost<Source>) {
    this.#options = options;
    this.#host = host;
    this.#outbox = host.outbox;
    this.#successors = new Successors(options);
    this.#told = JSON.stringify(this.route);
  }

  /** The way from here to the tail as far as it is known. */
  get route(): Route {
    return this.#successors.route();
  }

  /** Index of the successor that the traffic goes to. */
  get active(): number | undefined {
    return this.#successors.active;
  }

  /** When to call {@linkcode choose} though nothing happens. */
  get wakeAtMs(): number | undefined {
    return this.#successors.wakeAtMs;
  }

  start(nowMs: number): void {
    for (let target = 0; target < this.#successors.count; target++) {
      this.#dial(target);
    }
    this.choose(nowMs);
  }

  connected(input: ChainInput & { kind: "connected" }, nowMs: number): void {
    const link: Link = {
      target: input.target,
      reader: new FrameReader(),
      into: new Uint8Array(ANSWER_READ_BYTES),
      isWriting: false,
    };
    this.#links.set(input.link, link);
    this.#successors.connected(input.target, input.link);
    link.reader.push(input.bytes);
    this.#takeAnswers(input.link, link, nowMs);
  }

  unreachable(
    input: ChainInput & { kind: "unreachable" },
    nowMs: number,
  ): void {
    this.#successors.lost(input.target, input.error);
    this.#dial(input.target);
    this.choose(nowMs);
  }

  read(id: LinkId, length: number, nowMs: number): void {
    const link = this.#links.get(id);
    if (link === undefined) return;
    link.reader.push(link.into.subarray(0, length));
    this.#takeAnswers(id, link, nowMs);
  }

  written(id: LinkId): void {
    const link = this.#links.get(id);
    if (link === undefined) return;
    link.isWriting = false;
    this.#outbox.written();
    if (this.#options.narrate) this.#tellForwarded(link.target);
  }

  /** A link is gone: dial again, and see where the traffic can go meanwhile. */
  lost(id: LinkId, problem: Problem, nowMs: number): void {
    const link = this.#links.get(id);
    if (link === undefined) return;
    const { self } = this.#options;
    const label = this.#successors.label(link.target);
    this.#host.emit(logged("warn", `Lost ${label}`, {
      reason: problem.text,
      code: problem.code,
      unacknowledgedBytes: this.#outbox.queue.length,
    }));
    this.#drop(id, link, {
      code: problem.code,
      text: `${self.id} lost ${label}: ${problem.text}`,
    });
    this.choose(nowMs);
  }

  /** The next write, if the link to the tail is free for it. */
  send(): void {
    const id = this.#successors.activeLink;
    const link = id === undefined ? undefined : this.#links.get(id);
    if (id === undefined || link === undefined || link.isWriting) return;
    const bytes = this.#outbox.nextWrite(this.#returning?.end);
    if (bytes === undefined) return;
    link.isWriting = true;
    this.#host.emit({ kind: "write", link: id, bytes });
  }

  /** For `--print`: so many messages end at this queue position. */
  expect(end: number, messages: number): void {
    let count = messages;
    if (this.#untold.length >= UNTOLD_MAX) {
      count += this.#untold.pop()?.messages ?? 0;
    }
    this.#untold.push({ end, messages: count });
  }

  /** Looks where the traffic should go, turns it, and says so. */
  choose(nowMs: number): void {
    if (this.#successors.count === 0) return;
    const choice = this.#successors.choose(nowMs);
    if (choice.kind === "switch") this.#switch(choice.target);
    if (choice.kind === "return") this.#return(choice.target, nowMs);
    else this.#returning = undefined;
    const text = JSON.stringify(this.route);
    if (text === this.#told) return;
    this.#told = text;
    this.#host.routeChanged(this.route);
  }

  #dial(target: number): void {
    const attempt = this.#successors.nextAttempt(target);
    this.#host.emit({ kind: "dial", target, attempt });
  }

  #takeAnswers(id: LinkId, link: Link, nowMs: number): void {
    try {
      readAnswers(link.reader, {
        ack: (position) => this.#takeAck(id, link, position),
        route: (route) => this.#takeRoute(id, link, route),
      });
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#host.emit(closing(id, error));
      return this.lost(id, { code: error.code, text: error.message }, nowMs);
    }
    if (this.#links.has(id)) {
      this.#host.emit({ kind: "read", link: id, into: link.into });
    }
    this.choose(nowMs);
  }

  #takeAck(id: LinkId, link: Link, position: number): void {
    if (!this.#links.has(id)) return; // Given up by the answer before this one.
    if (
      id !== this.#successors.activeLink ||
      position > this.#outbox.sessionBytes
    ) {
      throw new WireError(
        "invalid-message",
        `Cannot take ack of ${position} bytes: fewer were sent`,
      );
    }
    const { queue } = this.#outbox;
    const before = queue.start;
    const done = this.#outbox.acknowledge(position);
    if (queue.start > before) this.#successors.acknowledged(link.target);
    this.#host.acknowledged(done, before);
  }

  #takeRoute(id: LinkId, link: Link, route: Route): void {
    const wasActive = id === this.#successors.activeLink;
    this.#successors.routed(link.target, route);
    if (!wasActive || id === this.#successors.activeLink) return;
    // It has turned out to lead back here; what was sent must go elsewhere,
    // and positions on a link count from its beginning.
    this.#host.emit(closing(id));
    this.#drop(id, link, this.#successors.problem(link.target));
  }

  #drop(id: LinkId, link: Link, problem: Problem | undefined): void {
    this.#links.delete(id);
    if (link.isWriting) this.#outbox.linkDown();
    this.#successors.lost(link.target, problem);
    this.#dial(link.target);
  }

  #tellForwarded(target: number): void {
    const { sent } = this.#outbox;
    const kept = this.#untold.findIndex(({ end }) => end > sent);
    const told = this.#untold.splice(0, kept < 0 ? Infinity : kept);
    const messages = told.reduce((sum, entry) => sum + entry.messages, 0);
    if (messages === 0) return;
    const to = this.#successors.label(target);
    this.#host.emit({ kind: "forwarded", to, messages });
  }

  /**
   * The first choice is back. What is queued now still goes the present way,
   * and the switch waits until it is acknowledged, so that nothing is repeated.
   */
  #return(target: number, nowMs: number): void {
    const { queue } = this.#outbox;
    this.#returning ??= { end: queue.end, sinceMs: nowMs };
    const { end, sinceMs } = this.#returning;
    const isSettled = queue.start >= end;
    const isLate = nowMs - sinceMs >= this.#options.nextTimeoutMs;
    if (!isSettled && !isLate) return;
    this.#returning = undefined;
    this.#switch(target);
  }

  #switch(target: number): void {
    const { active, activeLink } = this.#successors;
    if (active === target) return;
    const link = activeLink === undefined
      ? undefined
      : this.#links.get(activeLink);
    if (activeLink !== undefined && link !== undefined) {
      // Positions on a link count from its beginning: it cannot be used again.
      this.#host.emit(closing(activeLink));
      this.#drop(activeLink, link, {
        code: "link-lost",
        text: "another successor took over",
      });
    }
    this.#successors.active = target;
    this.#outbox.linkUp();
    this.switches += 1;
    const label = this.#successors.label(target);
    this.#host.emit(logged("info", `Sending to ${label}`, {
      unacknowledgedBytes: this.#outbox.queue.length,
    }));
  }
}

/** A `log` effect. */
export function logged(
  level: "info" | "warn" | "error",
  message: string,
  fields: Record<string, string | number>,
): ChainEffect {
  return { kind: "log", level, message, fields };
}

/** A `close` effect that tells the peer why, unless it is the peer's own word. */
export function closing(link: LinkId, error?: WireError): ChainEffect {
  return error === undefined || error instanceof PeerError
    ? { kind: "close", link }
    : { kind: "close", link, error };
}

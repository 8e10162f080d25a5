/** A chain node's core in simulated time, with a test in place of its host. */

import { assert, assertEquals } from "@std/assert";
import type {
  ChainEffect,
  ChainInput,
  ChainOptions,
} from "../../../nodes/chain/contract.ts";
import { ChainCore } from "../../../nodes/chain/core.ts";
import type { SourceKind } from "../../../nodes/chain/source.ts";
import {
  DATA_HEADER_BYTES,
  type DataHead,
  encodeAck,
  encodeRoute,
  readAck,
  readRoute,
  type Route,
  type RouteNode,
  writeDataHead,
} from "../../../protocol/chain.ts";
import type { LinkId } from "../../../protocol/core.ts";
import type { WireError } from "../../../protocol/errors.ts";
import { FRAME, FrameReader } from "../../../protocol/frame.ts";
import { bytesOf, joined, textOf } from "../../protocol/splits.ts";

/** One kind of effect. */
export type EffectOf<Kind extends ChainEffect["kind"]> = Extract<
  ChainEffect,
  { readonly kind: Kind }
>;

/** A node by its name; its incarnation comes from the name. */
export function routeNode(id: string): RouteNode {
  const digits = Array.from(id, (c) => c.charCodeAt(0).toString(16)).join("");
  return { id, incarnation: digits.padStart(16, "0").slice(-16) };
}

/** A route over these nodes to a tail. */
export function toTail(...ids: string[]): Route {
  return { nodes: ids.map(routeNode), complete: true };
}

/** A `data` frame of a client. */
export function data(
  text: string,
  head: Partial<DataHead> & Pick<DataHead, "client">,
): Uint8Array<ArrayBuffer> {
  const bytes = bytesOf(text);
  const frame = new Uint8Array(DATA_HEADER_BYTES + bytes.length);
  writeDataHead(frame, {
    offset: 0,
    base: false,
    pipelined: false,
    messages: (text.match(/\n/g) ?? []).length,
    ...head,
    textBytes: bytes.length,
  });
  frame.set(bytes, DATA_HEADER_BYTES);
  return frame;
}

/** Drives one core, and checks that it keeps to the contract with its host. */
export class DrivenCore {
  readonly core: ChainCore;
  nowMs = 1_000;
  /** Links that were closed, with what the peer was told. */
  readonly closed = new Map<LinkId, WireError | undefined>();
  /** Attempts to reach a successor that were asked for, oldest first. */
  readonly dials: { readonly target: number; readonly attempt: number }[] = [];
  /** Texts of the log, oldest first. */
  readonly logged: string[] = [];
  /** Effects that are neither about links nor answered, oldest first. */
  readonly others: ChainEffect[] = [];
  readonly #reads = new Map<LinkId, Uint8Array>();
  readonly #writes = new Map<LinkId, Uint8Array>();
  readonly #written = new Map<LinkId, Uint8Array[]>();
  #delivering: EffectOf<"deliver"> | undefined;
  #spooling: EffectOf<"spool"> | undefined;
  #nextLink = 1;

  constructor(options: Partial<ChainOptions> = {}) {
    this.core = new ChainCore({
      self: routeNode("a"),
      targets: [],
      nextTimeoutMs: 1_000,
      queueBytesMax: 1_000_000,
      ackLines: true,
      spool: false,
      narrate: false,
      ...options,
    });
  }

  /** Makes a core and starts it without anything from disk. */
  static started(options: Partial<ChainOptions> = {}): DrivenCore {
    const driven = new DrivenCore(options);
    driven.step({ kind: "start", frames: [], clients: [] });
    return driven;
  }

  step(input: ChainInput): ChainEffect[] {
    const effects = this.core.step(input, this.nowMs);
    for (const effect of effects) this.#note(effect);
    return effects;
  }

  /** Lets time pass, with a tick each second and one at the end. */
  pass(ms: number): void {
    const endMs = this.nowMs + ms;
    while (this.nowMs < endMs) {
      this.nowMs = Math.min(endMs, this.nowMs + 1_000);
      this.step({ kind: "tick" });
    }
  }

  /** A connection comes in. */
  accept(
    from: SourceKind,
    options: { client?: bigint; bytes?: Uint8Array } = {},
  ): LinkId {
    const link = this.#nextLink++;
    this.step({
      kind: "accepted",
      link,
      from,
      label: `peer ${link}`,
      client: from === "node" ? undefined : options.client ?? BigInt(link),
      bytes: options.bytes ?? new Uint8Array(0),
    });
    return link;
  }

  /** A link to a successor stands, and the successor tells its route. */
  connect(target: number, route?: Route): LinkId {
    const link = this.#nextLink++;
    const bytes = route === undefined ? new Uint8Array(0) : encodeRoute(route);
    this.step({ kind: "connected", link, target, bytes });
    return link;
  }

  /** Whether the core waits for bytes of this link. */
  isReading(link: LinkId): boolean {
    return this.#reads.has(link);
  }

  /**
   * Bytes arrive, in reads as large as the core asks for.
   *
   * @returns How many were taken before it stopped reading.
   */
  arrive(link: LinkId, bytes: Uint8Array | string): number {
    const all = typeof bytes === "string" ? bytesOf(bytes) : bytes;
    let at = 0;
    while (at < all.length) {
      const into = this.#reads.get(link);
      if (into === undefined) break;
      const piece = all.subarray(at, at + into.length);
      into.set(piece);
      at += piece.length;
      this.#reads.delete(link);
      this.step({ kind: "read", link, length: piece.length });
    }
    return at;
  }

  /** As {@linkcode arrive}, and all of it must be taken. */
  arriveAll(link: LinkId, bytes: Uint8Array | string): void {
    const length = typeof bytes === "string"
      ? bytesOf(bytes).length
      : bytes.length;
    assertEquals(this.arrive(link, bytes), length, "it stopped reading");
  }

  /** The peer closes its side. */
  end(link: LinkId): ChainEffect[] {
    this.#reads.delete(link);
    return this.step({ kind: "ended", link });
  }

  /** The link breaks. */
  breakLink(link: LinkId): ChainEffect[] {
    this.#reads.delete(link);
    this.#writes.delete(link);
    return this.step({ kind: "link-down", link, reason: "connection reset" });
  }

  /** What is being written on a link now. */
  writing(link: LinkId): Uint8Array | undefined {
    return this.#writes.get(link);
  }

  /** The operating system takes the write under way. */
  written(link: LinkId): void {
    const bytes = this.#writes.get(link);
    assert(bytes !== undefined, `nothing is written on link ${link}`);
    this.#writes.delete(link);
    this.#keep(link, bytes);
    this.step({ kind: "written", link });
  }

  /** Takes all that the core wants to write, and gives it back. */
  takeWrites(link: LinkId): Uint8Array {
    while (this.#writes.has(link)) this.written(link);
    const bytes = joined(this.#written.get(link) ?? []);
    this.#written.delete(link);
    return bytes;
  }

  /** As {@linkcode takeWrites}, as plain text. */
  takeText(link: LinkId): string {
    return textOf(this.takeWrites(link));
  }

  /** As {@linkcode takeWrites}, as answers of a chain node. */
  takeAnswers(link: LinkId): { acks: number[]; routes: Route[] } {
    const acks: number[] = [];
    const routes: Route[] = [];
    const reader = new FrameReader();
    reader.push(this.takeWrites(link));
    for (let frame = reader.next(); frame; frame = reader.next()) {
      if (frame.kind === FRAME.chainAck) acks.push(readAck(frame.payload));
      else routes.push(readRoute(frame.payload));
    }
    return { acks, routes };
  }

  /** The successor acknowledges so many bytes of its link. */
  acknowledge(link: LinkId, position: number): void {
    this.arriveAll(link, encodeAck(position));
  }

  /** Whether the tail is putting messages out. */
  get isDelivering(): boolean {
    return this.#delivering !== undefined;
  }

  /** What the tail puts out is out; its text, and which clients it brought where. */
  deliver(): { text: string; clients: readonly (readonly [bigint, number])[] } {
    const effect = this.#delivering;
    assert(effect !== undefined, "nothing is being delivered");
    const text = textOf(joined(effect.bytes));
    this.#delivering = undefined;
    this.step({ kind: "delivered" });
    return { text, clients: effect.clients };
  }

  /** What goes to the spool is synced; the frames, and where they begin. */
  spool(): { position: number; frames: Uint8Array } {
    const effect = this.#spooling;
    assert(effect !== undefined, "nothing is being spooled");
    const frames = joined(effect.frames);
    this.#spooling = undefined;
    this.step({ kind: "spooled" });
    return { position: effect.position, frames };
  }

  /** Whether frames are on their way to the spool. */
  get isSpooling(): boolean {
    return this.#spooling !== undefined;
  }

  #keep(link: LinkId, bytes: Uint8Array): void {
    const kept = this.#written.get(link) ?? [];
    this.#written.set(link, [...kept, bytes.slice()]);
  }

  #note(effect: ChainEffect): void {
    switch (effect.kind) {
      case "read":
        assert(!this.closed.has(effect.link), "it reads a closed link");
        assert(!this.#reads.has(effect.link), "two reads of one link");
        assert(effect.into.length > 0, "it reads nothing");
        this.#reads.set(effect.link, effect.into);
        return;
      case "write":
        assert(!this.closed.has(effect.link), "it writes to a closed link");
        assert(!this.#writes.has(effect.link), "two writes on one link");
        assert(effect.bytes.length > 0, "it writes nothing");
        this.#writes.set(effect.link, effect.bytes);
        return;
      case "close": {
        assert(!this.closed.has(effect.link), "it closes a link twice");
        this.closed.set(effect.link, effect.error);
        this.#reads.delete(effect.link);
        // What was begun is still written before the end.
        const bytes = this.#writes.get(effect.link);
        if (bytes !== undefined) this.#keep(effect.link, bytes);
        this.#writes.delete(effect.link);
        return;
      }
      case "dial":
        this.dials.push({ target: effect.target, attempt: effect.attempt });
        return;
      case "deliver":
        assertEquals(this.#delivering, undefined, "two deliveries at once");
        this.#delivering = effect;
        return;
      case "spool":
        assertEquals(this.#spooling, undefined, "two spools at once");
        this.#spooling = effect;
        return;
      case "log":
        this.logged.push(effect.message);
        return;
      case "timer":
        return; // `pass` lets time pass as the test wants it.
      case "spool-trim":
      case "received":
      case "forwarded":
      case "drained":
        this.others.push(effect);
    }
  }
}

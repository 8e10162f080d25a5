/** What a chain node decides: whom to read, what to send on, what to acknowledge. */

import {
  DATA_HEADER_BYTES,
  type DataHead,
  encodeRoute,
  readDataHead,
  type Route,
  writeDataHead,
} from "../../protocol/chain.ts";
import type { Core, LinkId } from "../../protocol/core.ts";
import { WireError } from "../../protocol/errors.ts";
import { readUint32 } from "../../protocol/frame.ts";
import type { ClientId } from "../../protocol/ids.ts";
import { type Acknowledged, Outbox } from "../../protocol/outbox.ts";
import type {
  ChainCounters,
  ChainEffect,
  ChainInput,
  ChainOptions,
} from "./contract.ts";
import { Delivery } from "./delivery.ts";
import { closing, Downstream, logged } from "./downstream.ts";
import {
  type InputBudget,
  type Intake,
  Source,
  type SourceKind,
} from "./source.ts";

/** Bytes of all input buffers together; beyond it they no longer grow. */
export const INPUT_BYTES_MAX = 16_777_216;

/** How long a message may stay half sent. */
export const HALF_MESSAGE_WAIT_MS = 60_000;

/** How long a peer may leave our answers unread. */
export const STALLED_WRITE_WAIT_MS = 30_000;

const TICK_EVERY_MS = 1_000;

/**
 * The tail acknowledges senders that do not wait for it at most so often, or
 * after so many bytes: each acknowledgement wakes every node on its way back,
 * at the cost of the messages on their way down.
 */
const ACK_PAUSE_MS = 1;
const ACK_BYTES_MAX = 262_144;

const CLOSED = { code: "link-lost", text: "closed by the peer" } as const;

/** Connections from outside at once; the next is refused as `busy`. */
export const SOURCES_MAX = 2_048;

/** Nodes before this one at once: each has a buffer of a whole frame. */
export const PREDECESSORS_MAX = 64;

/** One node of the chain as a state machine. */
export class ChainCore implements Core<ChainInput, ChainEffect> {
  readonly counters: ChainCounters = {
    messagesReceived: 0,
    bytesReceived: 0,
    bytesAcknowledged: 0,
    linesRefused: 0,
    linksRefused: 0,
  };
  readonly #options: ChainOptions;
  readonly #outbox: Outbox<Source | undefined>;
  readonly #delivery = new Delivery();
  readonly #sources = new Map<LinkId, Source>();
  /** Sources that wait for room in the queue, first come, first served. */
  readonly #waiting = new Set<Source>();
  readonly #downstream: Downstream<Source | undefined>;
  readonly #budget: InputBudget = { bytes: 0, bytesMax: INPUT_BYTES_MAX };
  readonly #head = new Uint8Array(DATA_HEADER_BYTES);
  readonly #intake: Intake = {
    takeFrames: (source, frames, messages) =>
      this.#takeFrames(source, frames, messages),
    takeLines: (source, head, text) => this.#takeLines(source, head, text),
    refuseLine: () => this.counters.linesRefused += 1,
  };
  /** Queue positions: what is out (or spooled), and what is on its way there. */
  #stored = 0;
  #storing = 0;
  #isStoring = false;
  #dirty = new Map<ClientId, number>();
  #isDraining = false;
  /** Sources that may have something to answer, or to be closed. */
  readonly #speaking = new Set<Source>();
  /** Sources whose acknowledgement waits for company. */
  readonly #paused = new Set<Source>();
  /** Sources whose peer has closed its side. */
  readonly #ending = new Set<Source>();
  #effects: ChainEffect[] = [];
  #nowMs = 0;

  constructor(options: ChainOptions) {
    this.#options = options;
    this.#outbox = new Outbox(options.queueBytesMax);
    this.#downstream = new Downstream(options, {
      outbox: this.#outbox,
      emit: (effect) => this.#effects.push(effect),
      acknowledged: (done, before) => this.#acknowledged(done, before),
      routeChanged: (route) => this.#tellRoute(route),
    });
  }

  /** Whether this node is the last of the chain. */
  get isTail(): boolean {
    return this.#options.targets.length === 0;
  }

  /** The way from here to the tail as far as it is known. */
  get route(): Route {
    return this.#downstream.route;
  }

  /** What the spool still needs once the `spool` under way is done. */
  get spooled(): { position: number; frames: Uint8Array[] } {
    const { start } = this.#outbox.queue;
    const end = this.#isStoring ? this.#storing : this.#stored;
    const position = Math.min(start, end);
    return { position, frames: this.#outbox.queue.views(start, end) };
  }

  /** Times the traffic was turned to a successor. */
  get switches(): number {
    return this.#downstream.switches;
  }

  /** Connections from outside. */
  get sourceCount(): number {
    return this.#sources.size;
  }

  /** Bytes kept because nobody has acknowledged them. */
  get queuedBytes(): number {
    return this.#outbox.queue.length;
  }

  /** Bytes that all connections' input buffers take. */
  get inputBytes(): number {
    return this.#budget.bytes;
  }

  /** The tail's memory of its clients. */
  get delivery(): Delivery {
    return this.#delivery;
  }

  describe(): string {
    const { queue } = this.#outbox;
    return `queue ${queue.start}..${queue.end} sources ${this.#sources.size} active ${
      this.#downstream.active ?? "-"
    } route ${JSON.stringify(this.route)}`;
  }

  step(input: ChainInput, nowMs: number): ChainEffect[] {
    this.#nowMs = nowMs;
    this.#effects = [];
    this.#handle(input);
    this.#flush();
    return this.#effects;
  }

  #handle(input: ChainInput): void {
    switch (input.kind) {
      case "start":
        return this.#start(input);
      case "accepted":
        return this.#accept(input);
      case "connected":
        return this.#downstream.connected(input, this.#nowMs);
      case "unreachable":
        return this.#downstream.unreachable(input, this.#nowMs);
      case "read":
        return this.#read(input.link, input.length);
      case "ended":
        return this.#ended(input.link);
      case "written":
        return this.#written(input.link);
      case "link-down":
        return this.#linkDown(input.link, input.reason);
      case "delivered":
      case "spooled":
        return this.#storedMore();
      case "tick":
        return this.#tick();
      case "ack-tick":
        return this.#endPause();
      case "drain":
        this.#isDraining = true;
        return this.#endPause();
    }
  }

  #start(input: ChainInput & { kind: "start" }): void {
    for (const [client, end] of input.clients) {
      this.#delivery.restore(client, end);
    }
    for (const frames of input.frames) {
      this.#outbox.queue.append(frames);
      this.#outbox.seal(undefined, 0);
    }
    this.#stored = this.#outbox.queue.end;
    this.#downstream.start(this.#nowMs);
    this.#effects.push({ kind: "timer", afterMs: TICK_EVERY_MS });
  }

  #tick(): void {
    for (const source of this.#sources.values()) {
      const { partialSinceMs, writingSinceMs } = source;
      // While we do not read, the rest of the message may be on its way.
      if (!source.isReading) source.partialSinceMs &&= this.#nowMs;
      else if (this.#isOver(partialSinceMs, HALF_MESSAGE_WAIT_MS)) {
        this.#refuse(
          source,
          new WireError(
            "timeout",
            `Half a message came and no more for ${HALF_MESSAGE_WAIT_MS} ms`,
          ),
        );
        continue;
      }
      if (
        source.isWriting && this.#isOver(writingSinceMs, STALLED_WRITE_WAIT_MS)
      ) {
        this.#refuse(
          source,
          new WireError(
            "timeout",
            `Answers were not read for ${STALLED_WRITE_WAIT_MS} ms`,
          ),
        );
      }
    }
    this.#downstream.choose(this.#nowMs);
    const wakeMs = (this.#downstream.wakeAtMs ?? Infinity) - this.#nowMs;
    const afterMs = wakeMs > 0
      ? Math.min(TICK_EVERY_MS, wakeMs)
      : TICK_EVERY_MS;
    this.#effects.push({ kind: "timer", afterMs });
  }

  #isOver(sinceMs: number | undefined, waitMs: number): boolean {
    return sinceMs !== undefined && this.#nowMs - sinceMs >= waitMs;
  }

  // Sources

  #accept(input: ChainInput & { kind: "accepted" }): void {
    const { link } = input;
    const error = this.#refusal(input.from);
    if (error !== undefined) {
      this.counters.linksRefused += 1;
      this.#effects.push({ kind: "close", link, error });
      return;
    }
    const source = new Source({
      ...input,
      budget: this.#budget,
      ackLines: this.#options.ackLines,
    });
    this.#sources.set(link, source);
    if (source.from !== "lines") {
      source.pendingRoute = encodeRoute(this.route);
    }
    this.#take(source, 0);
  }

  #refusal(from: SourceKind): WireError | undefined {
    if (this.#isDraining) {
      return new WireError("shutting-down", "This node is stopping");
    }
    if (this.#sources.size >= SOURCES_MAX) {
      return busy("connections", this.#sources.size, SOURCES_MAX);
    }
    if (from !== "node") return undefined;
    const predecessors = Array.from(this.#sources.values())
      .filter((source) => source.from === "node").length;
    return predecessors < PREDECESSORS_MAX
      ? undefined
      : busy("predecessors", predecessors, PREDECESSORS_MAX);
  }

  #read(link: LinkId, length: number): void {
    const source = this.#sources.get(link);
    if (source === undefined) {
      return this.#downstream.read(link, length, this.#nowMs);
    }
    source.isReading = false;
    this.#take(source, length);
  }

  #take(source: Source, length: number): void {
    this.#guard(source, () => {
      source.take(length, this.#intake, this.#nowMs);
      this.#waiting.add(source);
      this.#speaking.add(source);
    });
  }

  /** Runs `act`; a mistake of the peer ends its link and nothing else. */
  #guard(source: Source, act: () => void): void {
    try {
      act();
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#refuse(source, error);
    }
  }

  #refuse(source: Source, error: WireError): void {
    this.counters.linksRefused += 1;
    const message = `Closing ${source.label}: ${error.message}`;
    const level = error.code === "shutting-down" ? "info" : "warn";
    this.#effects.push(logged(level, message, { code: error.code }));
    this.#effects.push(closing(source.link, error));
    this.#forget(source);
  }

  #forget(source: Source): void {
    this.#sources.delete(source.link);
    this.#waiting.delete(source);
    this.#speaking.delete(source);
    this.#paused.delete(source);
    this.#ending.delete(source);
    source.dispose();
  }

  #ended(link: LinkId): void {
    const source = this.#sources.get(link);
    if (source === undefined) {
      this.#effects.push({ kind: "close", link });
      return this.#downstream.lost(link, CLOSED, this.#nowMs);
    }
    source.isReading = false;
    source.end(this.#intake);
    this.#waiting.delete(source);
    this.#ending.add(source);
    this.#speaking.add(source);
  }

  #takeFrames(source: Source, frames: Uint8Array, messages: number): void {
    this.#count(messages, frames.length);
    if (this.isTail) {
      eachFrame(frames, (head, text) => this.#takeOut(source, head, text));
    } else {
      if (this.#options.narrate) {
        eachFrame(frames, (head, text) => this.#report(source, head, text));
      }
      this.#outbox.queue.append(frames);
    }
    this.#seal(source, messages);
  }

  #takeLines(source: Source, head: DataHead, text: Uint8Array): void {
    this.#count(head.messages, text.length);
    if (this.isTail) this.#takeOut(source, head, text);
    else {
      if (this.#options.narrate) this.#report(source, head, text);
      writeDataHead(this.#head, { ...head, textBytes: text.length });
      this.#outbox.queue.append(this.#head);
      this.#outbox.queue.append(text);
    }
    this.#seal(source, head.messages);
  }

  #takeOut(source: Source, head: DataHead, text: Uint8Array): void {
    if (!head.pipelined) source.awaitedEnd = source.received;
    const from = { link: source.link, nowMs: this.#nowMs };
    const fresh = this.#delivery.take(head, text, from);
    if (fresh.length === 0) return;
    this.#outbox.queue.append(fresh);
    if (this.#options.spool) {
      this.#dirty.set(head.client, this.#delivery.endOf(head.client));
    }
    if (this.#options.narrate) this.#report(source, head, fresh);
  }

  #seal(source: Source, messages: number): void {
    const { end } = this.#outbox.queue;
    source.queueEnd = end;
    this.#outbox.seal(source, source.received);
    if (this.#options.narrate) this.#downstream.expect(end, messages);
  }

  #count(messages: number, bytes: number): void {
    this.counters.messagesReceived += messages;
    this.counters.bytesReceived += bytes;
  }

  #report(source: Source, head: DataHead, text: Uint8Array): void {
    this.#effects.push({
      kind: "received",
      label: source.label,
      messages: head.messages,
      text: text.slice(),
    });
  }

  #linkDown(link: LinkId, reason: string): void {
    const source = this.#sources.get(link);
    if (source !== undefined) return this.#forget(source);
    const problem = { code: "link-lost", text: reason } as const;
    this.#downstream.lost(link, problem, this.#nowMs);
  }

  #written(link: LinkId): void {
    const source = this.#sources.get(link);
    if (source === undefined) return this.#downstream.written(link);
    source.isWriting = false;
    this.#speaking.add(source);
    if (source.takesMore && !source.isReading) this.#waiting.add(source);
  }

  #tellRoute(route: Route): void {
    const path = route.nodes.map((node) => node.id).join(" -> ");
    this.#effects.push(
      route.complete
        ? logged("info", "The chain is complete", { path })
        : logged("warn", "The chain is not complete", {
          path,
          problem: route.problem?.text ?? "unknown",
        }),
    );
    for (const source of this.#sources.values()) {
      if (source.from === "lines") continue;
      source.pendingRoute = encodeRoute(route);
      this.#speaking.add(source);
    }
  }

  // Progress

  #acknowledged(
    done: readonly Acknowledged<Source | undefined>[],
    before: number,
  ): void {
    for (const { source, end } of done) {
      if (source === undefined || !this.#sources.has(source.link)) continue;
      source.acknowledge(end);
      this.#speaking.add(source);
    }
    const { start } = this.#outbox.queue;
    this.counters.bytesAcknowledged += start - before;
    if (this.#options.spool && !this.isTail && start > before) {
      this.#effects.push({ kind: "spool-trim", position: start });
    }
  }

  #storedMore(): void {
    this.#isStoring = false;
    this.#stored = this.#storing;
    for (const source of this.#ending) this.#speaking.add(source);
  }

  /** Emits whatever became possible: stores, writes, answers, reads. */
  #flush(): void {
    if (this.isTail || this.#options.spool) this.#store();
    this.#downstream.send();
    for (const source of this.#speaking) this.#answer(source);
    this.#speaking.clear();
    this.#readMore();
    if (this.#isDraining && this.#hasNothingLeft()) {
      this.#effects.push({ kind: "drained" });
    }
  }

  #store(): void {
    const { queue } = this.#outbox;
    if (this.isTail) {
      // Also when nothing is new: repeats have to be acknowledged again.
      const before = queue.start;
      this.#acknowledged(this.#outbox.acknowledgeTo(this.#stored), before);
    }
    if (this.#isStoring || this.#stored === queue.end) return;
    const position = Math.max(this.#stored, queue.start);
    const bytes = queue.views(position, queue.end);
    this.#storing = queue.end;
    this.#isStoring = true;
    if (!this.isTail) {
      this.#effects.push({ kind: "spool", position, frames: bytes });
      return;
    }
    const clients = Array.from(this.#dirty);
    this.#dirty = new Map();
    this.#effects.push({ kind: "deliver", bytes, clients });
  }

  /** Whether an acknowledgement should wait for the next ones. */
  #pauses(source: Source): boolean {
    const bytes = source.mayWaitBytes;
    if (!this.isTail || bytes === 0 || bytes >= ACK_BYTES_MAX) return false;
    if (this.#isDraining) return false;
    if (this.#nowMs - source.writingSinceMs >= ACK_PAUSE_MS) return false;
    if (this.#paused.size === 0) {
      this.#effects.push({ kind: "ack-timer", afterMs: ACK_PAUSE_MS });
    }
    this.#paused.add(source);
    return true;
  }

  #endPause(): void {
    for (const source of this.#paused) {
      source.isPauseOver = true;
      this.#speaking.add(source);
    }
    this.#paused.clear();
  }

  #answer(source: Source): void {
    if (this.#pauses(source)) return;
    const bytes = source.nextWrite();
    if (bytes !== undefined) {
      source.isWriting = true;
      source.writingSinceMs = this.#nowMs;
      this.#effects.push({ kind: "write", link: source.link, bytes });
      return;
    }
    // A spooled line is safe, and its sender need not wait for the tail.
    const isSafe = source.from === "lines" && this.#options.spool &&
      !this.#options.ackLines && !this.isTail && source.hasEnded &&
      !source.isWriting && source.queueEnd <= this.#stored;
    if (!source.isDone && !isSafe) return;
    this.#effects.push({ kind: "close", link: source.link });
    this.#forget(source);
  }

  #readMore(): void {
    if (this.#isDraining) return;
    for (const source of this.#waiting) {
      if (this.#outbox.queue.space <= 0) return;
      this.#waiting.delete(source);
      if (!source.takesMore || source.isReading) continue;
      this.#guard(source, () => {
        const into = this.#readInto(source);
        source.isReading = true;
        this.#effects.push({ kind: "read", link: source.link, into });
      });
    }
  }

  /**
   * Where the next read goes. If memory has run out, those go who have kept
   * half a message in it for longest, rather than who happens to need some.
   */
  #readInto(source: Source): Uint8Array {
    for (;;) {
      try {
        return source.readInto();
      } catch (error) {
        const idlest = this.#idlest();
        if (!(error instanceof WireError) || idlest === undefined) throw error;
        if (idlest === source) throw error;
        this.#refuse(idlest, error);
      }
    }
  }

  /** Of those with more than the least memory, who began its message first. */
  #idlest(): Source | undefined {
    let idlest: Source | undefined;
    for (const source of this.#sources.values()) {
      if (source.from === "node" || !source.holdsMemory) continue;
      if (source.partialSinceMs === undefined) continue;
      if (source.partialSinceMs < (idlest?.partialSinceMs ?? Infinity)) {
        idlest = source;
      }
    }
    return idlest;
  }

  #hasNothingLeft(): boolean {
    const isQuiet = !this.#isStoring;
    if (this.#outbox.isEmpty) return isQuiet;
    return isQuiet && !this.isTail &&
      (this.#options.spool || this.#downstream.active === undefined);
  }
}

function busy(what: string, count: number, max: number): WireError {
  return new WireError(
    "busy",
    `This node has ${count} ${what}, limit is ${max}`,
  );
}

function eachFrame(
  frames: Uint8Array,
  take: (head: DataHead, text: Uint8Array) => void,
): void {
  for (let at = 0; at < frames.length;) {
    const length = readUint32(frames, at) + 4;
    const head = readDataHead(frames, at, length);
    take(head, frames.subarray(at + DATA_HEADER_BYTES, at + length));
    at += length;
  }
}

/** What a chain node decides: whom to read, what to send on, what to acknowledge. */

import {
  DATA_HEADER_BYTES,
  type DataHead,
  encodeRoute,
  readAnswers,
  readDataHead,
  type Route,
  writeDataHead,
} from "../../protocol/chain.ts";
import type { Core, LinkId } from "../../protocol/core.ts";
import { WireError } from "../../protocol/errors.ts";
import { FrameReader, readUint32 } from "../../protocol/frame.ts";
import { PeerError } from "../../protocol/handshake.ts";
import type { ClientId } from "../../protocol/ids.ts";
import { Outbox } from "../../protocol/outbox.ts";
import type {
  ChainCounters,
  ChainEffect,
  ChainInput,
  ChainOptions,
} from "./contract.ts";
import { Delivery } from "./delivery.ts";
import { type InputBudget, type Intake, Source } from "./source.ts";
import { type Problem, Successors } from "./successors.ts";

/** Bytes of all input buffers together; beyond it they no longer grow. */
export const INPUT_BYTES_MAX = 16_777_216;

/** How long a message may stay half sent. */
export const HALF_MESSAGE_WAIT_MS = 60_000;

/** How long a peer may leave our answers unread. */
export const STALLED_WRITE_WAIT_MS = 30_000;

const TICK_EVERY_MS = 1_000;

/** Bytes of a read of a successor's answers, which are short. */
const ANSWER_READ_BYTES = 16_384;

/** Entries of what is not yet told as forwarded; beyond it the last one grows. */
const UNTOLD_MAX = 1_000;

/** Connections from outside at once; the next is refused as `busy`. */
export const SOURCES_MAX = 2_048;

/** A link to a successor: its answers are few, and read as frames. */
interface Down {
  readonly target: number;
  readonly reader: FrameReader;
  readonly into: Uint8Array<ArrayBuffer>;
  isWriting: boolean;
}

/** One node of the chain as a state machine. */
export class ChainCore implements Core<ChainInput, ChainEffect> {
  readonly counters: ChainCounters = {
    messagesReceived: 0,
    bytesReceived: 0,
    bytesAcknowledged: 0,
    linesRefused: 0,
    linksRefused: 0,
    switches: 0,
  };
  readonly #options: ChainOptions;
  readonly #outbox: Outbox<Source | undefined>;
  readonly #successors: Successors;
  readonly #delivery = new Delivery();
  readonly #sources = new Map<LinkId, Source>();
  /** Sources that wait for room in the queue, first come, first served. */
  readonly #waiting = new Set<Source>();
  readonly #downs = new Map<LinkId, Down>();
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
  #route: string;
  #isDraining = false;
  /** While traffic is about to go back to the first choice. */
  #returning: { readonly end: number; readonly sinceMs: number } | undefined;
  /** For `--print`: messages not yet handed on, by queue position. */
  #untold: { readonly end: number; readonly messages: number }[] = [];
  /** Sources that may have something to answer, or to be closed. */
  readonly #speaking = new Set<Source>();
  /** Sources whose peer has closed its side. */
  readonly #ending = new Set<Source>();
  #effects: ChainEffect[] = [];
  #nowMs = 0;

  constructor(options: ChainOptions) {
    this.#options = options;
    this.#outbox = new Outbox(options.queueBytesMax);
    this.#successors = new Successors(options);
    this.#route = JSON.stringify(this.#successors.route());
  }

  /** Whether this node is the last of the chain. */
  get isTail(): boolean {
    return this.#successors.count === 0;
  }

  /** The way from here to the tail as far as it is known. */
  get route(): Route {
    return this.#successors.route();
  }

  /** What the spool holds and still needs, for beginning its file anew. */
  get spooled(): { position: number; frames: Uint8Array[] } {
    const { start } = this.#outbox.queue;
    const frames = this.#outbox.queue.views(start, this.#stored);
    return { position: start, frames };
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
      this.#successors.active ?? "-"
    } route ${this.#route}`;
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
        return this.#connected(input);
      case "unreachable":
        this.#successors.lost(input.target, input.error);
        this.#dial(input.target);
        return this.#choose();
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
      case "drain":
        this.#isDraining = true;
        return;
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
    for (let target = 0; target < this.#successors.count; target++) {
      this.#dial(target);
    }
    this.#choose();
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
    this.#choose();
    this.#effects.push({ kind: "timer", afterMs: this.#tickAfterMs() });
  }

  #isOver(sinceMs: number | undefined, waitMs: number): boolean {
    return sinceMs !== undefined && this.#nowMs - sinceMs >= waitMs;
  }

  #tickAfterMs(): number {
    const wakeAtMs = this.#successors.wakeAtMs ?? Infinity;
    const untilMs = wakeAtMs - this.#nowMs;
    return untilMs > 0 ? Math.min(TICK_EVERY_MS, untilMs) : TICK_EVERY_MS;
  }

  // Sources

  #accept(input: ChainInput & { kind: "accepted" }): void {
    const { link } = input;
    if (this.#sources.size >= SOURCES_MAX || this.#isDraining) {
      this.counters.linksRefused += 1;
      const error = this.#isDraining
        ? new WireError("shutting-down", "This node is stopping")
        : new WireError(
          "busy",
          `This node has ${this.#sources.size} connections, limit is ${SOURCES_MAX}`,
        );
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
      source.pendingRoute = encodeRoute(this.#successors.route());
    }
    this.#take(source, 0);
  }

  #read(link: LinkId, length: number): void {
    const source = this.#sources.get(link);
    if (source === undefined) return this.#readDown(link, length);
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
    this.#effects.push({
      kind: "log",
      level: "warn",
      message: `Closing ${source.label}: ${error.message}`,
      fields: { code: error.code },
    });
    this.#effects.push(
      error instanceof PeerError
        ? { kind: "close", link: source.link }
        : { kind: "close", link: source.link, error },
    );
    this.#forget(source);
  }

  #forget(source: Source): void {
    this.#sources.delete(source.link);
    this.#waiting.delete(source);
    this.#speaking.delete(source);
    this.#ending.delete(source);
    source.dispose();
  }

  #ended(link: LinkId): void {
    const source = this.#sources.get(link);
    if (source === undefined) {
      this.#effects.push({ kind: "close", link });
      return this.#linkDown(link, "closed by the peer");
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
      let at = 0;
      while (at < frames.length) {
        const length = readUint32(frames, at) + 4;
        const head = readDataHead(frames, at, length);
        const text = frames.subarray(at + DATA_HEADER_BYTES, at + length);
        this.#takeOut(source, head, text);
        at += length;
      }
    } else {
      if (this.#options.narrate) this.#narrate(source, frames);
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
    if (!this.#options.narrate || this.isTail) return;
    if (this.#untold.length >= UNTOLD_MAX) {
      messages += this.#untold.pop()?.messages ?? 0;
    }
    this.#untold.push({ end, messages });
  }

  #count(messages: number, bytes: number): void {
    this.counters.messagesReceived += messages;
    this.counters.bytesReceived += bytes;
  }

  #narrate(source: Source, frames: Uint8Array): void {
    let at = 0;
    while (at < frames.length) {
      const length = readUint32(frames, at) + 4;
      const head = readDataHead(frames, at, length);
      const text = frames.subarray(at + DATA_HEADER_BYTES, at + length);
      this.#report(source, head, text);
      at += length;
    }
  }

  #report(source: Source, head: DataHead, text: Uint8Array): void {
    this.#effects.push({
      kind: "received",
      label: source.label,
      messages: head.messages,
      text: text.slice(),
    });
  }

  // Successors

  #connected(input: ChainInput & { kind: "connected" }): void {
    const down: Down = {
      target: input.target,
      reader: new FrameReader(),
      into: new Uint8Array(ANSWER_READ_BYTES),
      isWriting: false,
    };
    this.#downs.set(input.link, down);
    this.#successors.connected(input.target, input.link);
    down.reader.push(input.bytes);
    this.#takeAnswers(input.link, down);
  }

  #dial(target: number): void {
    const attempt = this.#successors.nextAttempt(target);
    this.#effects.push({ kind: "dial", target, attempt });
  }

  #readDown(link: LinkId, length: number): void {
    const down = this.#downs.get(link);
    if (down === undefined) return;
    down.reader.push(down.into.subarray(0, length));
    this.#takeAnswers(link, down);
  }

  #takeAnswers(link: LinkId, down: Down): void {
    try {
      readAnswers(down.reader, {
        ack: (position) => this.#takeAck(link, position),
        route: (route) => this.#successors.routed(down.target, route),
      });
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#effects.push(
        error instanceof PeerError
          ? { kind: "close", link }
          : { kind: "close", link, error },
      );
      return this.#downLost(link, { code: error.code, text: error.message });
    }
    this.#effects.push({ kind: "read", link, into: down.into });
    this.#choose();
  }

  #takeAck(link: LinkId, position: number): void {
    if (
      link !== this.#successors.activeLink ||
      position > this.#outbox.sessionBytes
    ) {
      throw new WireError(
        "invalid-message",
        `Cannot take ack of ${position} bytes: fewer were sent`,
      );
    }
    const before = this.#outbox.queue.start;
    this.#acknowledged(this.#outbox.acknowledge(position), before);
  }

  #linkDown(link: LinkId, reason: string): void {
    const source = this.#sources.get(link);
    if (source !== undefined) return this.#forget(source);
    this.#downLost(link, { code: "link-lost", text: reason });
  }

  #downLost(link: LinkId, problem: Problem): void {
    const down = this.#downs.get(link);
    if (down === undefined) return;
    this.#downs.delete(link);
    if (link === this.#successors.activeLink) this.#outbox.linkDown();
    const text = `${this.#options.self.id} lost ${
      this.#successors.label(down.target)
    }: ${problem.text}`;
    this.#successors.lost(down.target, { code: problem.code, text });
    this.#log("warn", `Lost ${this.#successors.label(down.target)}`, {
      reason: problem.text,
      code: problem.code,
      unacknowledgedBytes: this.queuedBytes,
    });
    this.#dial(down.target);
    this.#choose();
  }

  #written(link: LinkId): void {
    const source = this.#sources.get(link);
    if (source !== undefined) {
      source.isWriting = false;
      this.#speaking.add(source);
      if (source.takesMore && !source.isReading) this.#waiting.add(source);
      return;
    }
    const down = this.#downs.get(link);
    if (down === undefined) return;
    down.isWriting = false;
    if (link !== this.#successors.activeLink) return;
    this.#outbox.written();
    if (this.#options.narrate) this.#tellForwarded(down.target);
  }

  #tellForwarded(target: number): void {
    let messages = 0;
    while (
      this.#untold.length > 0 && this.#untold[0].end <= this.#outbox.sent
    ) {
      messages += this.#untold[0].messages;
      this.#untold.shift();
    }
    if (messages === 0) return;
    const to = this.#successors.label(target);
    this.#effects.push({ kind: "forwarded", to, messages });
  }

  /** Looks where the traffic should go, and turns it. */
  #choose(): void {
    if (this.isTail) return;
    const choice = this.#successors.choose(this.#nowMs);
    if (choice.kind === "switch") this.#switch(choice.target);
    if (choice.kind === "return") this.#return(choice.target);
    else this.#returning = undefined;
    this.#tellRoute();
  }

  /**
   * The first choice is back. What is queued now still goes the present way,
   * and the switch waits until it is acknowledged, so that nothing is repeated.
   */
  #return(target: number): void {
    const { end } = this.#outbox.queue;
    this.#returning ??= { end, sinceMs: this.#nowMs };
    const { sinceMs } = this.#returning;
    const isSettled = this.#outbox.queue.start >= this.#returning.end;
    if (!isSettled && !this.#isOver(sinceMs, this.#options.nextTimeoutMs)) {
      return;
    }
    this.#returning = undefined;
    this.#switch(target);
  }

  #switch(target: number): void {
    const { active, activeLink } = this.#successors;
    if (active === target) return;
    if (active !== undefined && activeLink !== undefined) {
      // Positions on a link count from its beginning: it cannot be used again.
      this.#outbox.linkDown();
      this.#downs.delete(activeLink);
      this.#effects.push({ kind: "close", link: activeLink });
      this.#dial(active);
      this.#successors.lost(active, {
        code: "link-lost",
        text: "another successor took over",
      });
    }
    this.#successors.active = target;
    this.#outbox.linkUp();
    this.counters.switches += 1;
    this.#log("info", `Sending to ${this.#successors.label(target)}`, {
      unacknowledgedBytes: this.queuedBytes,
    });
  }

  #tellRoute(): void {
    const route = this.#successors.route();
    const text = JSON.stringify(route);
    if (text === this.#route) return;
    this.#route = text;
    const path = route.nodes.map((node) => node.id).join(" -> ");
    if (route.complete) this.#log("info", "The chain is complete", { path });
    else {
      this.#log("warn", "The chain is not complete", {
        path,
        problem: route.problem?.text ?? "unknown",
      });
    }
    for (const source of this.#sources.values()) {
      if (source.from === "lines") continue;
      source.pendingRoute = encodeRoute(route);
      this.#speaking.add(source);
    }
  }

  // Progress

  #acknowledged(
    done: readonly { source: Source | undefined; end: number }[],
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
    this.#send();
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

  #send(): void {
    const link = this.#successors.activeLink;
    if (link === undefined) return;
    const down = this.#downs.get(link);
    if (down === undefined || down.isWriting) return;
    const bytes = this.#outbox.nextWrite(this.#returning?.end);
    if (bytes === undefined) return;
    down.isWriting = true;
    this.#effects.push({ kind: "write", link, bytes });
  }

  #answer(source: Source): void {
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
        const into = source.readInto();
        source.isReading = true;
        this.#effects.push({ kind: "read", link: source.link, into });
      });
    }
  }

  #hasNothingLeft(): boolean {
    const isQuiet = !this.#isStoring;
    if (this.#outbox.isEmpty) return isQuiet;
    return isQuiet && !this.isTail &&
      (this.#options.spool || this.#successors.active === undefined);
  }

  #log(
    level: "info" | "warn" | "error",
    message: string,
    fields: Record<string, string | number>,
  ): void {
    this.#effects.push({ kind: "log", level, message, fields });
  }
}

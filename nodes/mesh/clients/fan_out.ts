/** One message to many connections: encoded once, written in as few writes as possible. */

import { formatMore, formatPlain } from "../../../protocol/mesh_answers.ts";
import type { ToClient } from "../../../protocol/mesh.ts";
import { WireError } from "../../../protocol/errors.ts";
import { encodeMessage, type Framing, Ring } from "./ring.ts";
import type { Subscriber } from "./subscriber.ts";

/** Bytes that each format's ring holds: how far a reader may fall behind. */
export const RING_BYTES_MAX = 4_194_304;

/** After so many bytes it is looked again who is how far behind. */
const LOOK_BYTES = 65_536;

/** Whether a client gets the bare messages, or all fields. */
export type Style = "plain" | "more";

/** Those who get the same bytes. */
interface Channel {
  readonly style: Style;
  readonly framing: Framing;
  readonly ring: Ring;
  readonly members: Set<Member>;
  /** Where the ring began when it was last looked who has lost messages. */
  seenStart: number;
  /** Whether there is anything that was not flushed. */
  hasNew: boolean;
}

/** One receiver. */
export interface Member {
  readonly subscriber: Subscriber;
  /** How it is spoken to. */
  style: Style;
  /** It has lost messages: cut it off. */
  slow(error: WireError): void;
}

export class FanOut {
  readonly #channels: readonly Channel[];
  readonly #ringBytesMax: number;
  readonly #toFlush = new Set<Member>();
  #isScheduled = false;
  /** Bytes that were added since it was looked who is behind. */
  #unseenBytes = 0;
  #isPressed = false;

  constructor(options: { ringBytesMax?: number | undefined }) {
    this.#ringBytesMax = options.ringBytesMax ?? RING_BYTES_MAX;
    const styles: readonly Style[] = ["plain", "more"];
    const framings: readonly Framing[] = ["lines", "frames"];
    this.#channels = styles.flatMap((style) =>
      framings.map((framing) => ({
        style,
        framing,
        ring: new Ring(framing, this.#ringBytesMax),
        members: new Set<Member>(),
        seenStart: 0,
        hasNew: false,
      }))
    );
  }

  /** Bytes of memory that the rings hold. */
  get heldBytes(): number {
    let bytes = 0;
    for (const { ring } of this.#channels) bytes += ring.heldBytes;
    return bytes;
  }

  /** Whether somebody who reads on is so far behind that whoever says much must wait. */
  get isPressed(): boolean {
    if (this.#unseenBytes >= LOOK_BYTES) this.look(performance.now());
    return this.#isPressed;
  }

  /** Looks who is behind now. */
  look(nowMs: number): void {
    this.#unseenBytes = 0;
    const lagBytesMax = this.#ringBytesMax / 2;
    let isPressed = false;
    for (const { members } of this.#channels) {
      for (const { subscriber } of members) {
        // Each is looked at: it is from look to look that its pace is seen.
        if (subscriber.isLagging(nowMs, lagBytesMax)) isPressed = true;
      }
    }
    this.#isPressed = isPressed;
  }

  /** Gives `member` all that goes to everyone from now on. */
  join(member: Member): void {
    const channel = this.#channels.find(({ style, framing }) =>
      style === member.style && framing === member.subscriber.framing
    );
    if (channel === undefined) throw new Error("No channel of that format");
    member.subscriber.join(channel.ring);
    channel.members.add(member);
  }

  /** Gives it no more. */
  leave(member: Member): void {
    this.#toFlush.delete(member);
    for (const channel of this.#channels) {
      if (channel.members.delete(member)) clearIfUnused(channel);
    }
  }

  /** To everyone who has joined; with `moreOnly` not to those of the plain style. */
  toAll(message: ToClient, moreOnly: boolean): void {
    let plain: string | undefined;
    let more: string | undefined;
    for (const channel of this.#channels) {
      if (channel.members.size === 0) continue;
      let text: string | undefined;
      if (channel.style === "more") text = more ??= formatMore(message);
      else if (!moreOnly) text = plain ??= formatPlain(message);
      if (text !== undefined) this.#append(channel, text);
    }
  }

  /** To one alone, behind all that came before. */
  toOne(member: Member, message: ToClient): void {
    const text = format(message, member.style);
    if (text === undefined) return;
    this.push(member, encodeMessage(text, member.subscriber.framing));
  }

  /** To these alone, each of which gets it behind all that came before. */
  toSome(members: Iterable<Member>, message: ToClient): void {
    const texts = new Map<Style, string | undefined>();
    const encoded = new Map<string, Uint8Array>();
    for (const member of members) {
      const { style, subscriber } = member;
      if (!texts.has(style)) texts.set(style, format(message, style));
      const text = texts.get(style);
      if (text === undefined) continue;
      const key = `${style} ${subscriber.framing}`;
      let bytes = encoded.get(key);
      if (bytes === undefined) {
        bytes = encodeMessage(text, subscriber.framing);
        encoded.set(key, bytes);
      }
      this.push(member, bytes);
    }
  }

  /** Adds bytes for one alone. */
  push(member: Member, bytes: Uint8Array): void {
    member.subscriber.push(bytes);
    this.#unseenBytes += bytes.length;
    this.#toFlush.add(member);
    this.#schedule();
  }

  #append(channel: Channel, text: string): void {
    const { ring, members } = channel;
    ring.append(text, () => lowestOf(members));
    channel.hasNew = true;
    this.#unseenBytes += text.length;
    this.#schedule();
  }

  /** What was dropped from the ring is lost to whoever had not read it. */
  #dropSlow(channel: Channel): void {
    const { ring, members } = channel;
    const { start } = ring;
    if (start === channel.seenStart) return;
    channel.seenStart = start;
    for (const member of members) {
      const { position } = member.subscriber;
      if (position >= start) continue;
      members.delete(member);
      member.slow(
        new WireError(
          "slow-consumer",
          `Client reads too slowly: ${
            ring.end - position
          } bytes wait, limit is ${this.#ringBytesMax}`,
        ),
      );
    }
    clearIfUnused(channel);
  }

  /** Once for all that happens in one turn. */
  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    this.#isScheduled = false;
    for (const channel of this.#channels) {
      if (!channel.hasNew) continue;
      channel.hasNew = false;
      this.#dropSlow(channel);
      for (const { subscriber } of channel.members) subscriber.flush();
    }
    for (const { subscriber } of this.#toFlush) subscriber.flush();
    this.#toFlush.clear();
  }
}

/** A ring that nobody reads takes no memory. */
function clearIfUnused(channel: Channel): void {
  if (channel.members.size > 0) return;
  channel.ring.clear();
  channel.hasNew = false;
}

function format(message: ToClient, style: Style): string | undefined {
  return style === "more" ? formatMore(message) : formatPlain(message);
}

function lowestOf(members: ReadonlySet<Member>): number {
  let lowest = Infinity;
  for (const { subscriber } of members) {
    lowest = Math.min(lowest, subscriber.position);
  }
  return lowest;
}

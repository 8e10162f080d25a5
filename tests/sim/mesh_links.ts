/**
 * Links between simulated mesh servers: whole frames in order, at failure a
 * prefix; silence that shows only after a while; frames of events that a
 * congested host drops.
 */

import type { LinkId } from "../../protocol/core.ts";
import type { PeerMessage } from "../../protocol/mesh_peer.ts";
import {
  decodePeerMessage,
  encodePeerMessage,
} from "../../protocol/mesh_peer_codec.ts";
import type { Machine, World } from "./world.ts";

/** Bytes of a frame before its payload, and the place of its kind. */
const HEADER_BYTES = 5;
const KIND_AT = 4;

/** A side that hears nothing for so long gives a link up. */
export const SILENT_MS = 1_500;

/** A process that links lead to. */
export interface MeshEnd {
  readonly machine: Machine;
  readonly name: string;
  up(side: MeshSide): void;
  message(side: MeshSide, message: PeerMessage): void;
  down(side: MeshSide, reason: string): void;
}

export interface MeshSide {
  readonly link: LinkId;
  readonly end: MeshEnd;
  /** Which life of the process: none but this hears of the link. */
  readonly life: number;
  readonly isDialed: boolean;
  other: MeshSide | undefined;
  isOpen: boolean;
  /** When the last message sent to this side arrives. */
  lastMs: number;
  /** What came while nothing passed. */
  held: PeerMessage[];
}

export interface MeshLinksOptions {
  readonly delayMsMax: number;
  /** Whether messages go through the codec. */
  readonly isEncoded: boolean;
}

export class MeshLinks {
  /** The chance that a frame of events is dropped. */
  dropChance = 0;
  readonly #world: World;
  readonly #options: MeshLinksOptions;
  readonly #sides = new Set<MeshSide>();
  readonly #silent = new Set<string>();
  #next = 1;
  sent = 0;

  constructor(world: World, options: MeshLinksOptions) {
    this.#world = world;
    this.#options = options;
  }

  reaches(a: MeshEnd, b: MeshEnd): boolean {
    return !this.#silent.has(pairKey(a, b));
  }

  /** Connects two processes; each hears of it when it does. */
  connect(dialer: MeshEnd, acceptor: MeshEnd, lives: [number, number]): void {
    const a = this.#side(dialer, lives[0], true);
    const b = this.#side(acceptor, lives[1], false);
    a.other = b;
    b.other = a;
    for (const side of [a, b]) {
      side.lastMs = this.#world.nowMs + this.#delayMs();
      this.#at(side, side.lastMs, () => side.end.up(side));
    }
  }

  send(from: MeshSide, message: PeerMessage): void {
    const { other: to } = from;
    if (to === undefined) return;
    this.sent += 1;
    const { random } = this.#world;
    if (message.kind === "events" && random.chance(this.dropChance)) return;
    for (const part of this.#parts(message)) {
      to.lastMs = Math.max(to.lastMs, this.#world.nowMs + this.#delayMs());
      this.#at(to, to.lastMs, () => this.#arrive(to, part));
    }
  }

  /** Closes a side: what was sent arrives, then the end. */
  close(side: MeshSide): void {
    if (!side.isOpen) return;
    this.#drop(side);
    const { other } = side;
    if (other === undefined) return;
    other.lastMs = Math.max(other.lastMs, this.#world.nowMs + this.#delayMs());
    this.#at(other, other.lastMs, () => this.#end(other, "closed"));
  }

  /** Breaks the links between two processes; both notice. */
  cut(a: MeshEnd, b: MeshEnd): void {
    for (const side of this.#between(a, b)) {
      const atMs = this.#world.nowMs + this.#delayMs();
      this.#at(side, atMs, () => this.#down(side, "reset"));
    }
  }

  silence(a: MeshEnd, b: MeshEnd): void {
    this.#world.note(() => `silence ${a.name} | ${b.name}`);
    this.#silent.add(pairKey(a, b));
    for (const side of this.#between(a, b)) {
      const atMs = this.#world.nowMs + SILENT_MS +
        this.#world.random.int(100);
      this.#at(side, atMs, () => {
        if (!this.reaches(a, b)) this.#down(side, "silent for too long");
      });
    }
  }

  heal(a: MeshEnd, b: MeshEnd): void {
    if (!this.#silent.delete(pairKey(a, b))) return;
    this.#world.note(() => `heal ${a.name} | ${b.name}`);
    for (const side of this.#between(a, b)) {
      this.#at(side, this.#world.nowMs, () => this.#giveHeld(side));
    }
  }

  /** A process is gone: others hear of it at once, or by its silence. */
  crashed(end: MeshEnd): void {
    for (const side of [...this.#sides]) {
      if (side.end !== end) continue;
      this.#drop(side);
      const { other } = side;
      if (other === undefined) continue;
      const isSilent = this.#world.random.chance(0.3) ||
        !this.reaches(end, other.end);
      const atMs = isSilent
        ? this.#world.nowMs + SILENT_MS
        : Math.max(other.lastMs, this.#world.nowMs + this.#delayMs());
      this.#at(other, atMs, () => this.#down(other, "reset"));
    }
  }

  /** A stopped process is silent. */
  froze(end: MeshEnd): void {
    for (const side of this.#sides) {
      const { other } = side;
      if (side.end !== end || other === undefined) continue;
      this.#at(other, this.#world.nowMs + SILENT_MS, () => {
        if (end.machine.isFrozen) this.#down(other, "silent for too long");
      });
    }
  }

  #parts(message: PeerMessage): PeerMessage[] {
    if (!this.#options.isEncoded) return [message];
    return encodePeerMessage(message).map((frame) =>
      decodePeerMessage(frame[KIND_AT], frame.subarray(HEADER_BYTES))
    );
  }

  #side(end: MeshEnd, life: number, isDialed: boolean): MeshSide {
    const side: MeshSide = {
      ...{ link: this.#next++, end, life, isDialed, other: undefined },
      ...{ isOpen: true, lastMs: 0, held: [] },
    };
    this.#sides.add(side);
    return side;
  }

  #between(a: MeshEnd, b: MeshEnd): MeshSide[] {
    return [...this.#sides].filter(({ end, other }) =>
      end === a && other?.end === b || end === b && other?.end === a
    );
  }

  #delayMs(): number {
    return this.#world.random.next() * this.#options.delayMsMax;
  }

  #at(side: MeshSide, atMs: number, act: () => void): void {
    const waitMs = Math.max(0, atMs - this.#world.nowMs);
    side.end.machine.later(waitMs, () => {
      if (side.isOpen) act();
    });
  }

  #arrive(side: MeshSide, message: PeerMessage): void {
    const { end, other } = side;
    side.held.push(message);
    if (other === undefined || this.reaches(end, other.end)) {
      this.#giveHeld(side);
    }
  }

  #giveHeld(side: MeshSide): void {
    const { held } = side;
    side.held = [];
    for (const message of held) {
      if (side.isOpen) side.end.message(side, message);
    }
  }

  /** The other side has closed; in silence that shows later. */
  #end(side: MeshSide, reason: string): void {
    const { end, other } = side;
    if (other === undefined || this.reaches(end, other.end)) {
      return this.#down(side, reason);
    }
    this.#at(side, this.#world.nowMs + SILENT_MS, () => {
      this.#down(side, "silent for too long");
    });
  }

  #down(side: MeshSide, reason: string): void {
    if (!side.isOpen) return;
    this.#drop(side);
    side.end.down(side, reason);
    const { other } = side;
    if (other === undefined || !other.isOpen) return;
    const atMs = this.reaches(side.end, other.end)
      ? Math.max(other.lastMs, this.#world.nowMs + this.#delayMs())
      : this.#world.nowMs + SILENT_MS;
    this.#at(other, atMs, () => this.#down(other, "reset"));
  }

  #drop(side: MeshSide): void {
    side.isOpen = false;
    side.held = [];
    this.#sides.delete(side);
  }
}

function pairKey(a: MeshEnd, b: MeshEnd): string {
  return a.name < b.name ? `${a.name}|${b.name}` : `${b.name}|${a.name}`;
}

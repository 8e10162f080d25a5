/**
 * Simulated links between the nodes of a replicated group: whole messages in
 * order, no duplicates, at failure a prefix and then the end, which each side
 * may see late; partitions that show only as silence, both ways or one way.
 */

import type { ReplicaMessage } from "../../protocol/replica.ts";
import type { Peer } from "../../nodes/chat/replica/contract.ts";
import type { Random } from "./random.ts";
import type { Machine, World } from "./world.ts";

/** One process as the links see it. */
export interface Endpoint {
  readonly name: string;
  readonly machine: Machine;
  /** False while the whole machine is off: nothing there answers, not even "refused". */
  readonly isPowered: boolean;
  /** How it presents itself on a new link. */
  hello(): Peer;
  up(end: LinkEnd, peer: Peer): void;
  message(end: LinkEnd, message: ReplicaMessage): void;
  down(end: LinkEnd, reason: string): void;
}

/** One process's side of a link. */
export class LinkEnd {
  readonly host: Endpoint;
  /** The other process's side. */
  readonly other: LinkEnd;
  /** This side has dialed. */
  readonly isDialer: boolean;
  /** Who is there; undefined until its hello has come. */
  peer: Peer | undefined;
  /** This side knows that the link is gone. */
  isOver = false;
  /** What is under way to this side, in order. */
  readonly arriving: Arriving[] = [];

  /** Of the side that dials; makes the other one, which is given this one. */
  constructor(host: Endpoint, other: Endpoint | LinkEnd) {
    this.host = host;
    this.isDialer = !(other instanceof LinkEnd);
    this.other = other instanceof LinkEnd ? other : new LinkEnd(other, this);
  }
}

type Arriving =
  & { readonly atMs: number }
  & (
    | { readonly kind: "hello"; readonly peer: Peer }
    | { readonly kind: "message"; readonly message: ReplicaMessage }
    | { readonly kind: "over"; readonly reason: string }
  );

/** How fast and how patient the network is. */
export interface LinkTiming {
  /** The longest that a message travels, and how often one takes that long. */
  delayMsMax: number;
  slowChance: number;
  /** Silence after which a side gives a link up. */
  readonly silentMsMax: number;
}

/** What became of an attempt to connect; a link that stands may still break before its hello. */
export type DialResult = LinkEnd | "refused" | "silence";

/** All links of a group; its faults are asked for by name of machine. */
export class Links {
  /** Changed when the calm begins. */
  readonly timing: LinkTiming;
  /** Called with each message as it leaves. */
  onSend: (message: ReplicaMessage) => void = () => {};
  /** What the wire would make of each message; undefined: what it is. */
  transcode: ((message: ReplicaMessage) => ReplicaMessage[]) | undefined;
  readonly #world: World;
  readonly #random: Random;
  readonly #ends = new Set<LinkEnd>();
  /** `FROM>TO` of machines of which the second does not hear the first. */
  readonly #silent = new Set<string>();

  constructor(world: World, timing: LinkTiming) {
    this.#world = world;
    this.#random = world.random;
    this.timing = timing;
  }

  /** Whether what `from` sends now arrives at `to`. */
  hears(from: string, to: string): boolean {
    return !this.#silent.has(`${from}>${to}`);
  }

  /** Whether packets go both ways, and the machine there is on and not stopped. */
  reaches(there: Endpoint | undefined, here: Endpoint): boolean {
    return there !== undefined && there.isPowered && !there.machine.isFrozen &&
      this.hears(there.name, here.name) && this.hears(here.name, there.name);
  }

  /** How long a message sent now travels. */
  delayMs(): number {
    const { delayMsMax, slowChance } = this.timing;
    const longest = this.#random.chance(slowChance) ? delayMsMax : 2;
    return 0.05 + this.#random.next() * longest;
  }

  /** Tries to connect two processes; both are told by `up` if that works out. */
  dial(from: Endpoint, to: Endpoint): DialResult {
    if (!this.reaches(to, from)) return "silence";
    if (!to.machine.isUp) return "refused";
    const end = new LinkEnd(from, to);
    this.#ends.add(end);
    this.#ends.add(end.other);
    this.#push(end.other, { kind: "hello", peer: from.hello(), atMs: 0 });
    return end;
  }

  send(end: LinkEnd, message: ReplicaMessage): void {
    if (end.isOver) return;
    this.onSend(message);
    if (this.transcode === undefined) {
      return this.#push(end.other, { kind: "message", message, atMs: 0 });
    }
    for (const decoded of this.transcode(message)) {
      this.#push(end.other, { kind: "message", message: decoded, atMs: 0 });
    }
  }

  /** Closes from one side: what was sent arrives, then the end. */
  close(end: LinkEnd, reason: string): void {
    if (end.isOver) return;
    this.#finish(end);
    this.#push(end.other, { kind: "over", reason, atMs: 0 });
  }

  /** Breaks every link between two machines; both sides hear of it, maybe late. */
  cut(a: string, b: string): void {
    this.#world.note(() => `link ${a} ${b} CUT`);
    for (const end of [...this.#ends]) {
      if (end.host.name === a && end.other.host.name === b) {
        for (const side of [end, end.other]) this.#tear(side, "reset");
      }
    }
  }

  /** The process is gone; its operating system says so unless it went as well. */
  crashed(host: Endpoint): void {
    for (const end of [...this.#ends]) {
      if (end.host !== host) continue;
      this.#finish(end);
      if (host.isPowered) this.#tear(end.other, "reset");
      else {
        this.#truncate(end.other);
        this.#watch(end.other);
      }
    }
  }

  /** A machine is on again: its operating system resets what it does not know. */
  booted(host: Endpoint): void {
    for (const end of [...this.#ends]) {
      if (end.other.host === host && end.other.isOver) {
        this.#push(end, { kind: "over", reason: "reset", atMs: 0 });
      }
    }
  }

  /** What hears nothing from a machine gives up its links in a while. */
  suspectSilence(name: string): void {
    for (const end of this.#ends) {
      if (end.other.host.name === name) this.#watch(end);
    }
  }

  /** `to` hears nothing more from `from`. */
  silence(from: string, to: string): void {
    this.#silent.add(`${from}>${to}`);
    for (const end of this.#ends) {
      if (end.host.name === to && end.other.host.name === from) {
        this.#watch(end);
      }
    }
  }

  /** What was held back comes now, as if sent again. */
  heal(from: string, to: string): void {
    if (!this.#silent.delete(`${from}>${to}`)) return;
    for (const end of this.#ends) {
      if (end.host.name === to && end.other.host.name === from) {
        this.#drainIn(end, this.#random.int(100));
      }
    }
  }

  healAll(): void {
    for (const pair of [...this.#silent]) {
      const [from, to] = pair.split(">");
      this.heal(from, to);
    }
  }

  #push(end: LinkEnd, item: Arriving): void {
    if (end.isOver) return;
    const last = end.arriving.at(-1)?.atMs ?? 0;
    const atMs = Math.max(last, this.#world.nowMs + this.delayMs());
    end.arriving.push({ ...item, atMs });
    this.#drainIn(end, atMs - this.#world.nowMs);
  }

  #drainIn(end: LinkEnd, afterMs: number): void {
    end.host.machine.later(afterMs, () => this.#drain(end));
  }

  #drain(end: LinkEnd): void {
    const { host, other } = end;
    while (!end.isOver && end.arriving.length > 0) {
      const item = end.arriving[0];
      // The times were added up in another order: a rounding is not early.
      if (item.atMs > this.#world.nowMs + 1e-6) return;
      if (!this.hears(other.host.name, host.name)) return;
      if (!host.machine.isUp || host.machine.isFrozen) return;
      end.arriving.shift();
      switch (item.kind) {
        case "hello":
          end.peer = item.peer;
          if (!end.isDialer) {
            this.#push(other, { kind: "hello", peer: host.hello(), atMs: 0 });
          }
          host.up(end, item.peer);
          break;
        case "message":
          host.message(end, item.message);
          break;
        case "over":
          this.#giveUp(end, item.reason);
          break;
      }
    }
  }

  /** Loses all but some first messages under way to `end`. */
  #truncate(end: LinkEnd): void {
    if (this.#random.chance(0.5)) return;
    end.arriving.length = this.#random.int(end.arriving.length + 1);
  }

  #tear(end: LinkEnd, reason: string): void {
    this.#truncate(end);
    this.#push(end, { kind: "over", reason, atMs: 0 });
  }

  #watch(end: LinkEnd): void {
    const { silentMsMax } = this.timing;
    const waitMs = silentMsMax * (0.5 + this.#random.next() / 2);
    end.host.machine.later(waitMs, () => {
      const { host, other } = end;
      const isSilent = other.host.machine.isFrozen || !other.host.isPowered ||
        !this.hears(other.host.name, host.name);
      if (isSilent) this.#giveUp(end, "silence");
    });
  }

  #giveUp(end: LinkEnd, reason: string): void {
    if (end.isOver) return;
    this.close(end, reason);
    if (end.peer !== undefined) end.host.down(end, reason);
  }

  #finish(end: LinkEnd): void {
    end.isOver = true;
    end.arriving.length = 0;
    if (end.other.isOver) {
      this.#ends.delete(end);
      this.#ends.delete(end.other);
    }
  }
}

/** Why a node that has said hello is not linked: the checks of `nodes/chat/links/peer_checks.ts`. */
export function whyNotLinked(
  end: LinkEnd,
  { self, peer, old }: { self: Peer; peer: Peer; old: LinkEnd | undefined },
): string | undefined {
  const isForeign = self.group !== undefined && peer.group !== undefined &&
    self.group !== peer.group;
  if (isForeign) return "other-group";
  const isOfLower = ({ isDialer }: LinkEnd) => isDialer === (self.id < peer.id);
  const isKept = old?.peer?.incarnation === peer.incarnation &&
    isOfLower(old) && !isOfLower(end);
  return isKept ? "busy" : undefined;
}

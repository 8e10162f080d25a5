/**
 * A simulated network of byte streams, with TCP's promises and no more: in
 * order, no duplicates, at failure a prefix; cuts that both sides see, and
 * partitions that show only as silence.
 */

import type { LinkId, LinkInput } from "../../protocol/core.ts";
import type { Machine, World } from "./world.ts";

/** How fast and how patient the network is. */
export interface NetworkOptions {
  readonly delayMsMax: number;
  /** Bytes that one direction holds before a write has to wait. */
  readonly socketBytes: number;
  /** How long a side waits in silence before it gives a link up. */
  readonly silentMsMax: number;
}

/** Takes what links report to one process. */
export type LinkSink = (input: LinkInput) => void;

interface Side {
  readonly link: LinkId;
  readonly machine: Machine;
  readonly sink: LinkSink;
  isOpen: boolean;
  /** What has arrived and was not read. */
  arrived: Uint8Array[];
  arrivedBytes: number;
  /** Bytes of the other side's writes under way to this one. */
  flyingBytes: number;
  /** What will arrive, in order. */
  flying: { readonly atMs: number; readonly act: () => void }[];
  hasEnded: boolean;
  endReported: boolean;
  reading: Uint8Array | undefined;
  /** A write not yet wholly taken: the source bytes and how many are gone. */
  writing: { bytes: Uint8Array; done: number } | undefined;
  isClosing: boolean;
}

interface Pair {
  readonly sides: readonly [Side, Side];
}

/** All links, by number; every process sees its own side under its own number. */
export class Network {
  readonly #world: World;
  readonly #options: NetworkOptions;
  readonly #pairs = new Map<LinkId, { pair: Pair; own: 0 | 1 }>();
  /** Pairs of machine names that cannot hear one another. */
  readonly #silent = new Set<string>();
  #nextLink = 1;

  constructor(world: World, options: NetworkOptions) {
    this.#world = world;
    this.#options = options;
  }

  /** Whether a packet from one machine reaches the other. */
  reaches(a: Machine, b: Machine): boolean {
    return !this.#silent.has(pairKey(a, b));
  }

  /** Connects two processes; both numbers are new. */
  connect(
    a: { machine: Machine; sink: LinkSink },
    b: { machine: Machine; sink: LinkSink },
  ): [LinkId, LinkId] {
    const links: [LinkId, LinkId] = [this.#nextLink++, this.#nextLink++];
    const pair: Pair = { sides: [side(links[0], a), side(links[1], b)] };
    this.#pairs.set(links[0], { pair, own: 0 });
    this.#pairs.set(links[1], { pair, own: 1 });
    return links;
  }

  /** Links of a machine that it has neither closed nor lost. */
  count(machine: Machine): number {
    let count = 0;
    for (const { pair, own } of this.#pairs.values()) {
      if (pair.sides[own].machine === machine) count += 1;
    }
    return count;
  }

  read(link: LinkId, into: Uint8Array): void {
    const found = this.#find(link);
    if (found === undefined) return;
    if (found.own.reading !== undefined) throw new Error("Two reads at once");
    found.own.reading = into;
    this.#serveRead(found.own);
  }

  write(link: LinkId, bytes: Uint8Array): void {
    const found = this.#find(link);
    if (found === undefined) return;
    if (found.own.writing !== undefined) throw new Error("Two writes at once");
    found.own.writing = { bytes, done: 0 };
    this.#push(found.own, found.other);
  }

  /** Closes cleanly: what was written arrives, then the end. */
  close(link: LinkId): void {
    const found = this.#find(link);
    if (found === undefined) return;
    found.own.isClosing = true;
    found.own.isOpen = false;
    this.#pairs.delete(link);
    if (found.own.writing === undefined) this.#sendEnd(found.own, found.other);
  }

  /** Closes one direction, as `nc -N` does at the end of its input. */
  closeWrite(link: LinkId): void {
    const found = this.#find(link);
    if (found !== undefined) this.#sendEnd(found.own, found.other);
  }

  /** Breaks every link of a machine; the other sides hear of it, maybe late. */
  crash(machine: Machine): void {
    for (const { pair, own } of [...this.#pairs.values()]) {
      if (pair.sides[own].machine !== machine) continue;
      const other = pair.sides[1 - own];
      this.#drop(pair.sides[own]);
      const isSilent = this.#world.random.chance(0.3);
      const max = isSilent
        ? this.#options.silentMsMax
        : this.#options.delayMsMax;
      this.#downLater(other, this.#world.random.int(max + 1), "reset");
    }
  }

  /** Breaks the links between two machines where both notice. */
  cut(a: Machine, b: Machine): void {
    this.#world.note(() => `cut ${a.name} | ${b.name}`);
    this.#between(a, b, (own) => {
      const afterMs = this.#world.random.int(this.#options.delayMsMax + 1);
      this.#downLater(own, afterMs, "reset");
    });
  }

  /** Lets nothing pass between two machines until {@linkcode heal}. */
  silence(a: Machine, b: Machine): void {
    this.#world.note(() => `silence ${a.name} | ${b.name}`);
    this.#silent.add(pairKey(a, b));
    this.#between(a, b, (own) => this.#suspectLater(own, a, b));
  }

  heal(a: Machine, b: Machine): void {
    this.#world.note(() => `heal ${a.name} | ${b.name}`);
    this.#silent.delete(pairKey(a, b));
  }

  /** A frozen machine is silent: its peers give its links up after a while. */
  suspectFrozen(machine: Machine): void {
    for (const { pair, own } of this.#pairs.values()) {
      if (pair.sides[own].machine === machine) continue;
      if (pair.sides[1 - own].machine !== machine) continue;
      const side = pair.sides[own];
      side.machine.later(this.#silentMs(), () => {
        if (machine.isFrozen) this.#down(side, "silent for too long");
      });
    }
  }

  #between(a: Machine, b: Machine, act: (side: Side) => void): void {
    for (const { pair, own } of [...this.#pairs.values()]) {
      const machines = [pair.sides[own].machine, pair.sides[1 - own].machine];
      if (machines.includes(a) && machines.includes(b)) act(pair.sides[own]);
    }
  }

  #suspectLater(own: Side, a: Machine, b: Machine): void {
    own.machine.later(this.#silentMs(), () => {
      if (!this.reaches(a, b)) this.#down(own, "silent for too long");
    });
  }

  #silentMs(): number {
    const { silentMsMax } = this.#options;
    return silentMsMax / 2 + this.#world.random.int(silentMsMax / 2);
  }

  #downLater(own: Side, afterMs: number, reason: string): void {
    own.machine.later(afterMs, () => this.#down(own, reason));
  }

  /** Reports a broken link once; the other side will find out by itself. */
  #down(own: Side, reason: string): void {
    if (!own.isOpen) return;
    const found = this.#find(own.link);
    this.#drop(own);
    own.sink({ kind: "link-down", link: own.link, reason });
    if (found === undefined) return;
    const { other } = found;
    const afterMs = this.reaches(own.machine, other.machine)
      ? this.#world.random.int(this.#options.delayMsMax + 1)
      : this.#silentMs();
    this.#downLater(other, afterMs, "reset");
  }

  #drop(own: Side): void {
    own.isOpen = false;
    own.reading = undefined;
    own.writing = undefined;
    own.arrived = [];
    this.#pairs.delete(own.link);
  }

  #find(link: LinkId): { own: Side; other: Side } | undefined {
    const found = this.#pairs.get(link);
    if (found === undefined) return undefined;
    const { pair, own } = found;
    return { own: pair.sides[own], other: pair.sides[1 - own] };
  }

  /** Moves as much of a write as the socket takes, copying only then. */
  #push(from: Side, to: Side): void {
    const { writing } = from;
    if (writing === undefined || (!from.isOpen && !from.isClosing)) return;
    if (!this.reaches(from.machine, to.machine)) {
      // TCP tries again for as long as the link stands.
      this.#world.schedule(20, () => this.#push(from, to));
      return;
    }
    const room = this.#options.socketBytes - to.arrivedBytes - to.flyingBytes;
    const left = writing.bytes.length - writing.done;
    const count = Math.min(left, room, 1 + this.#world.random.int(left));
    if (count > 0) {
      const chunk = writing.bytes.slice(writing.done, writing.done + count);
      writing.done += count;
      this.#fly(from, to, chunk);
    }
    if (writing.done < writing.bytes.length) {
      if (room > 0) this.#world.schedule(0, () => this.#push(from, to));
      return; // Else the reader's progress calls again.
    }
    from.writing = undefined;
    if (from.isClosing) return this.#sendEnd(from, to);
    from.machine.later(0, () => {
      if (from.isOpen) from.sink({ kind: "written", link: from.link });
    });
  }

  /** Bytes arrive after the ones before them. */
  #fly(from: Side, to: Side, chunk: Uint8Array): void {
    to.flyingBytes += chunk.length;
    this.#arriveLater(from, to, () => {
      to.flyingBytes -= chunk.length;
      to.arrived.push(chunk);
      to.arrivedBytes += chunk.length;
      to.machine.later(0, () => this.#serveRead(to));
    });
  }

  #arriveLater(from: Side, to: Side, act: () => void): void {
    const { nowMs, random } = this.#world;
    const atMs = Math.max(
      to.flying.at(-1)?.atMs ?? 0,
      nowMs + random.next() * this.#options.delayMsMax,
    );
    to.flying.push({ atMs, act });
    this.#world.schedule(atMs - nowMs, () => this.#land(from, to));
  }

  /** Lets arrive what is due, in order; nothing lands in silence. */
  #land(from: Side, to: Side): void {
    if (!to.isOpen) return;
    if (to.flying.length > 0 && !this.reaches(from.machine, to.machine)) {
      this.#world.schedule(20, () => this.#land(from, to));
      return;
    }
    while (
      to.flying.length > 0 && to.flying[0].atMs <= this.#world.nowMs
    ) {
      to.flying.shift()?.act();
    }
  }

  #sendEnd(from: Side, to: Side): void {
    this.#arriveLater(from, to, () => {
      to.hasEnded = true;
      to.machine.later(0, () => this.#serveRead(to));
    });
  }

  #serveRead(own: Side): void {
    const into = own.reading;
    if (into === undefined || !own.isOpen) return;
    const chunk = own.arrived[0];
    if (chunk === undefined) {
      if (!own.hasEnded || own.endReported) return;
      own.endReported = true;
      own.reading = undefined;
      own.machine.later(0, () => {
        if (own.isOpen) own.sink({ kind: "ended", link: own.link });
      });
      return;
    }
    const length = Math.min(chunk.length, into.length);
    into.set(chunk.subarray(0, length));
    if (length === chunk.length) own.arrived.shift();
    else own.arrived[0] = chunk.subarray(length);
    own.arrivedBytes -= length;
    own.reading = undefined;
    own.machine.later(0, () => {
      if (own.isOpen) own.sink({ kind: "read", link: own.link, length });
    });
    const found = this.#find(own.link);
    if (found !== undefined) {
      this.#world.schedule(0, () => this.#push(found.other, own));
    }
  }
}

function side(
  link: LinkId,
  end: { machine: Machine; sink: LinkSink },
): Side {
  return {
    link,
    machine: end.machine,
    sink: end.sink,
    isOpen: true,
    arrived: [],
    arrivedBytes: 0,
    flyingBytes: 0,
    flying: [],
    hasEnded: false,
    endReported: false,
    reading: undefined,
    writing: undefined,
    isClosing: false,
  };
}

function pairKey(a: Machine, b: Machine): string {
  return a.name < b.name ? `${a.name}|${b.name}` : `${b.name}|${a.name}`;
}

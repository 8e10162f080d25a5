/** Discovery: whom a node without configuration meets, and when it begins a group. */

import { type Address, formatAddress } from "../protocol/address.ts";
import type { Core } from "../protocol/core.ts";
import type { Advert } from "../protocol/discovery.ts";
import { isSameEpoch, type StoreId } from "../protocol/epoch.ts";
import { compareRank } from "../protocol/view.ts";
import type {
  DiscoveryEffect,
  DiscoveryInput,
  DiscoveryOptions,
  OwnGroup,
  Rival,
} from "./discovery_contract.ts";
import { Jitter } from "./jitter.ts";
import {
  compareGroups,
  type GroupRank,
  type HeardGroup,
  preferredGroup,
  Sightings,
  wordOf,
} from "./sightings.ts";

/**
 * Heard lately: in one of so many questions. Where half of all datagrams are
 * lost, one of four answers comes, and one of five questions is answered with 3 in 4.
 */
const LATELY_ASKS = 5;

/** Calm questions that somebody may leave unanswered before it counts as gone. */
const KEPT_ASKS = 4;

/** How often a server lets one of higher rank, that was heard, found first. */
const FOUNDINGS_LEFT = 2;

/** The operator is told of a rival again after this. */
const WARN_AGAIN_MS = 600_000;

/** Whoever is to be taken in and is not for so long tells the operator. */
const WAIT_WARNED_MS = 30_000;

/** Rivals, and nodes under this one's id, that are named in {@linkcode WARN_AGAIN_MS}. */
const WARNED_MAX = 64;

type Heard = Extract<DiscoveryInput, { kind: "heard" }>;

/**
 * Decides from what the nodes around say of themselves: which group to join,
 * when to found one, and which of two groups is to end. Safety does not rest on
 * it: a group ends only by a command in its own log that finds nothing there.
 *
 * @see protocol/WIRE.md#discovery
 */
export class DiscoveryCore implements Core<DiscoveryInput, DiscoveryEffect> {
  readonly #options: DiscoveryOptions;
  readonly #jitter: Jitter;
  readonly #sightings: Sightings;
  #effects: DiscoveryEffect[] = [];
  #nowMs = 0;
  #steppedMs = 0;
  #group: OwnGroup | undefined;
  /** The group that is to be joined. */
  #chosen: StoreId | undefined;
  #askAtMs = Infinity;
  /** When no group was heard of for long enough; only of a server without one. */
  #foundAtMs = Infinity;
  #foundingsLeft = FOUNDINGS_LEFT;
  /** Since when no group was heard of. */
  #quietSinceMs = 0;
  /** Since when the own group does not work; of no meaning while it does. */
  #idleSinceMs = 0;
  #dissolveNotBeforeMs = -Infinity;
  #hasGivenUp = false;
  #rivals: readonly Rival[] = [];
  /** When the operator was told, by rival or by store under this node's id. */
  readonly #warnedMs = new Map<StoreId, number>();
  /** Since when each group that was heard of is empty and does not work. */
  #deadSinceMs = new Map<StoreId, number>();
  /** Since when this node waits to be taken into the group chosen. */
  #chosenSinceMs = 0;

  constructor(options: DiscoveryOptions) {
    const { dissolved, seed } = options;
    this.#options = options;
    this.#jitter = new Jitter(seed);
    this.#sightings = new Sightings({ keepMs: this.#keepMs, dissolved });
  }

  step(input: DiscoveryInput, nowMs: number): DiscoveryEffect[] {
    this.#nowMs = nowMs;
    if (input.kind !== "start") this.#forgiveOwnStop();
    this.#steppedMs = nowMs;
    this.#handle(input);
    this.#sightings.forget(nowMs);
    this.#noteDead();
    this.#choose();
    this.#giveUpIfDead();
    this.#meet();
    this.#foundIfQuiet();
    this.#tellRivals();
    this.#ask();
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  /** When the host is to step with `wake` at the latest. */
  get wakeAtMs(): number {
    return Math.min(this.#askAtMs, this.#foundAtMs);
  }

  describe(): string {
    const group = this.#group?.id.slice(0, 4) ?? "-";
    const heard = Array.from(
      this.#sightings.nodes,
      ({ advert }) => `${advert.id}/${advert.group?.id.slice(0, 4) ?? "-"}`,
    );
    return `${this.#options.self.id} group ${group} chosen ${
      this.#chosen?.slice(0, 4) ?? "-"
    } heard ${heard.join(" ")}`;
  }

  get #keepMs(): number {
    return KEPT_ASKS * this.#options.timing.calmMs;
  }

  get #latelyMs(): number {
    return LATELY_ASKS * this.#options.timing.askMs;
  }

  #handle(input: DiscoveryInput): void {
    switch (input.kind) {
      case "start":
        this.#group = input.group;
        this.#askAtMs = this.#idleSinceMs = this.#nowMs;
        return this.#listen();
      case "heard":
        return this.#hear(input);
      case "group":
        return this.#regroup(input.group);
      case "wake":
        return;
    }
  }

  /** Whoever was stopped itself has heard nobody meanwhile, and it means nothing. */
  #forgiveOwnStop(): void {
    const dueMs = Math.max(this.#steppedMs, this.wakeAtMs);
    if (this.#nowMs - dueMs >= this.#options.timing.foundMs / 2) this.#listen();
  }

  /** Begins to wait for a group to be heard of. */
  #listen(): void {
    this.#quietSinceMs = this.#nowMs;
    this.#foundingsLeft = FOUNDINGS_LEFT;
    this.#waitToFound();
  }

  #waitToFound(): void {
    const mayFound = this.#group === undefined &&
      this.#options.self.kind === "server";
    const waitMs = this.#options.timing.foundMs * this.#jitter.between(1, 2);
    this.#foundAtMs = mayFound ? this.#nowMs + waitMs : Infinity;
  }

  #regroup(group: OwnGroup): void {
    const isNew = this.#group === undefined;
    if (isNew || this.#group?.isActive) this.#idleSinceMs = this.#nowMs;
    this.#group = group;
    this.#foundAtMs = Infinity;
    if (isNew) this.#chosen = undefined;
    // Others may have founded in the same moment: soon one knows.
    const waitMs = this.#options.timing.askMs * this.#jitter.between(0.5, 1.5);
    const isBrisk = isNew || !group.isActive;
    if (isBrisk) this.#askAtMs = Math.min(this.#askAtMs, this.#nowMs + waitMs);
  }

  // What is heard.

  #hear({ advert, peers }: Heard): void {
    const { self, store } = this.#options;
    if (advert.id === self.id) {
      if (advert.store !== store) this.#warnOfDouble(advert, peers);
      return;
    }
    const heard = { advert, address: peers, heardMs: this.#nowMs };
    this.#sightings.add(heard, this.#group?.id);
    this.#giveUpIfOver(advert);
    const { group } = advert;
    if (group === undefined || this.#sightings.isDissolved(group.id)) return;
    if (this.#group === undefined) {
      if (!this.#isDead(group.id)) this.#listen();
      return;
    }
    if (group.id !== this.#group.id) this.#dissolveIfLesser(group.id);
  }

  #warnOfDouble(advert: Advert, address: Address): void {
    if (!this.#mayWarn(advert.store, Infinity)) return;
    this.#note(
      "warn",
      `Another node has the id "${advert.id}", at ${
        formatAddress(address)
      }: give one of the two another --id`,
    );
  }

  /** The own group has ended while this node did not listen. */
  #giveUpIfOver({ id, dissolved }: Advert): void {
    const group = this.#group;
    if (group === undefined || !dissolved.includes(group.id)) return;
    // Whoever reaches its leader will hear it from there, if it is true.
    if (group.isActive || this.#hasGivenUp) return;
    const said = `"${id}" says that the group of this node has ended`;
    if (!group.isAppliedVoid) {
      if (!this.#mayWarn(group.id, Infinity)) return;
      const text = `${said}, but it holds data: nothing is given up`;
      return this.#note("warn", text);
    }
    // What is not applied yet was never acknowledged if that is true; a group
    // that goes on would have applied it by then.
    const idleMs = this.#nowMs - this.#idleSinceMs;
    if (!group.isVoid && idleMs < this.#keepMs) return;
    this.#hasGivenUp = true;
    this.#effects.push({ kind: "give-up", reason: said });
  }

  /** Commits the end of the own group if nothing is in it and the other remains. */
  #dissolveIfLesser(other: StoreId): void {
    const mine = this.#group;
    const theirs = this.#sightings.group(other);
    if (mine === undefined || theirs === undefined) return;
    if (!mine.isLeader || !mine.isActive) return;
    if (this.#nowMs < this.#dissolveNotBeforeMs) return;
    const rank = rankOf(mine);
    if (rank.holdsData || compareGroups(theirs, rank) < 0) return;
    // Of two empty groups a dead one must not be left over.
    const isAlive = theirs.isLeaderHeard && theirs.isWorking;
    if (!theirs.holdsData && !isAlive) return;
    this.#dissolveNotBeforeMs = this.#nowMs + this.#options.timing.calmMs;
    this.#note(
      "info",
      `The group of this node is empty, and gives way to that of "${theirs.leader.id}"`,
    );
    this.#effects.push({ kind: "dissolve", into: theirs.id });
  }

  // What is done about it.

  /** An empty group that lost its majority would keep all newcomers for itself. */
  #noteDead(): void {
    const sinceMs = new Map<StoreId, number>();
    for (const { id, holdsData, isWorking } of this.#others) {
      if (holdsData || isWorking) continue;
      sinceMs.set(id, this.#deadSinceMs.get(id) ?? this.#nowMs);
    }
    this.#deadSinceMs = sinceMs;
  }

  /** Whether a group is empty and has not worked for as long as a node is remembered. */
  #isDead(group: StoreId): boolean {
    const sinceMs = this.#deadSinceMs.get(group) ?? Infinity;
    return this.#nowMs - sinceMs >= this.#keepMs;
  }

  /** Groups of others that this node has heard of. */
  get #others(): HeardGroup[] {
    return this.#sightings.groups(this.#group?.id);
  }

  /**
   * The own group does not work, and another one does. Nothing is lost with it
   * if it is empty here, and nothing can be in it that is not here.
   */
  #giveUpIfDead(): void {
    const mine = this.#group;
    if (mine === undefined || mine.isActive || this.#hasGivenUp) return;
    if (!mine.isVoid || mine.hasWitness || !mine.isIndispensable) return;
    if (this.#nowMs - this.#idleSinceMs < this.#keepMs) return;
    const other = this.#others.find(({ isWorking }) => isWorking);
    if (other === undefined) return;
    this.#hasGivenUp = true;
    const reason =
      `it is empty and does not work without "${mine.leader.id}", and that of "${other.leader.id}" does`;
    this.#effects.push({ kind: "give-up", reason });
  }

  /** Without a group: the one to join, as long as it is heard of. */
  #choose(): void {
    if (this.#group !== undefined) return;
    const groups = this.#others.filter(({ id, heardMs }) =>
      this.#nowMs - heardMs <= this.#latelyMs && !this.#isDead(id)
    );
    const chosen = groups.find(({ id }) => id === this.#chosen);
    const group = preferredGroup(groups, this.#options.self.kind);
    // Whoever went to and fro between two of a kind would join neither.
    const stays = chosen !== undefined && chosen.holdsData === group?.holdsData;
    if (stays || group?.id === this.#chosen) return this.#warnOfWait(group);
    this.#chosen = group?.id;
    this.#chosenSinceMs = this.#nowMs;
    if (group === undefined) return;
    this.#note(
      "info",
      `Found the group of "${group.leader.id}" at ${
        formatAddress(group.address)
      }, and joins it`,
    );
  }

  /** A group that takes nobody in has lost its majority, and only people can help. */
  #warnOfWait(group: HeardGroup | undefined): void {
    const waitMs = this.#nowMs - this.#chosenSinceMs;
    if (group === undefined || waitMs < WAIT_WARNED_MS) return;
    if (!this.#mayWarn(group.id, WARN_AGAIN_MS)) return;
    this.#note(
      "warn",
      `The group of "${group.leader.id}" has not taken this node in for ${
        Math.round(waitMs / 1_000)
      } s: start its servers that are missing, or see "skein-chat recover --help" if they are lost`,
    );
  }

  /** Keeps links to the own group, or the chosen one, and to nodes without one. */
  #meet(): void {
    const { self } = this.#options;
    const group = this.#group?.id ?? this.#chosen;
    const others = this.#others.filter(({ id }) => !this.#isDead(id));
    for (const sighting of this.#sightings.nodes) {
      const { advert, address } = sighting;
      const isMet = advert.group === undefined
        ? this.#isOurs(advert, others)
        : advert.group.id === group;
      if (!isMet) {
        sighting.metAs = undefined;
        continue;
      }
      const word = wordOf(sighting);
      if (sighting.metAs === word || advert.id === self.id) continue;
      sighting.metAs = word;
      const { id, kind: nodeKind } = advert;
      this.#effects.push({ kind: "meet", id, nodeKind, address });
    }
  }

  /** Whether a node without a group is to be met: not if it should join another one. */
  #isOurs({ kind }: Advert, others: readonly HeardGroup[]): boolean {
    if (this.#group === undefined) return true;
    const mine = rankOf(this.#group);
    return preferredGroup([mine, ...others], kind)?.id === mine.id;
  }

  /** Begins a group if there is none far and wide, and nobody else is to do so. */
  #foundIfQuiet(): void {
    if (this.#nowMs < this.#foundAtMs) return;
    this.#waitToFound();
    if (this.#chosen !== undefined) return;
    if (this.#foundingsLeft > 0 && this.#isHigherNear()) {
      this.#foundingsLeft -= 1;
      return;
    }
    const quietMs = Math.round(this.#nowMs - this.#quietSinceMs);
    this.#foundingsLeft = FOUNDINGS_LEFT;
    this.#note("info", `No group was heard of for ${quietMs} ms: founds one`);
    this.#effects.push({ kind: "found" });
  }

  #isHigherNear(): boolean {
    const { self } = this.#options;
    for (const { advert, heardMs } of this.#sightings.nodes) {
      if (advert.group !== undefined || advert.kind !== "server") continue;
      if (this.#nowMs - heardMs > this.#latelyMs) continue;
      if (compareRank(advert, self) > 0) return true;
    }
    return false;
  }

  #tellRivals(): void {
    const mine = this.#group;
    if (mine === undefined) return;
    const groups = rankOf(mine).holdsData
      ? this.#sightings.groups(mine.id).filter(({ holdsData }) => holdsData)
      : [];
    groups.sort((a, b) => a.id < b.id ? -1 : 1);
    for (const group of groups) this.#warnOfRival(group);
    const rivals = groups.map(toRival);
    if (isSameList(rivals, this.#rivals)) return;
    this.#rivals = rivals;
    this.#effects.push({ kind: "rivals", rivals });
  }

  #warnOfRival({ id, leader, from, address }: HeardGroup): void {
    if (!this.#mayWarn(id, WARN_AGAIN_MS)) return;
    this.#note(
      "warn",
      `The group of "${leader.id}" holds data as this one does ("${from}" at ${
        formatAddress(address)
      } told of it): the two never merge by themselves. Stop the servers of one and start each with a new --data directory, so that it joins the other; or name one of the groups with --cluster`,
    );
  }

  #ask(): void {
    if (this.#nowMs < this.#askAtMs) return;
    const { askMs, calmMs } = this.#options.timing;
    const isCalm = this.#group?.isActive === true;
    const waitMs = (isCalm ? calmMs : askMs) * this.#jitter.between(0.5, 1.5);
    this.#askAtMs = this.#nowMs + waitMs;
    this.#effects.push({ kind: "ask" });
  }

  /**
   * Whether the operator is to be told of this store or group now. Anybody can
   * make up any number of them: beyond the bound nobody new is named for a while.
   */
  #mayWarn(about: StoreId, againMs: number): boolean {
    const warnedMs = this.#warnedMs.get(about) ?? -Infinity;
    if (this.#nowMs - warnedMs < againMs) return false;
    this.#warnedMs.delete(about);
    for (const [oldest, atMs] of this.#warnedMs) {
      if (this.#warnedMs.size < WARNED_MAX) break;
      if (this.#nowMs - atMs < WARN_AGAIN_MS) return false;
      this.#warnedMs.delete(oldest);
    }
    this.#warnedMs.set(about, this.#nowMs);
    return true;
  }

  #note(level: "info" | "warn", text: string): void {
    this.#effects.push({ kind: "note", level, text });
  }
}

function rankOf({ id, isVoid, hasWitness, leader }: OwnGroup): GroupRank {
  return { id, holdsData: !isVoid || hasWitness, leader };
}

function toRival({ id, leader, epoch, from, address }: HeardGroup): Rival {
  return { group: id, leader: leader.id, epoch, from, address };
}

function isSameList(a: readonly Rival[], b: readonly Rival[]): boolean {
  return a.length === b.length && a.every((rival, at) => {
    const other = b[at];
    return rival.group === other.group && rival.leader === other.leader &&
      isSameEpoch(rival.epoch, other.epoch) && rival.from === other.from &&
      formatAddress(rival.address) === formatAddress(other.address);
  });
}

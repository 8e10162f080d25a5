/**
 * Simulated datagrams between machines: lost, late, doubled, and not heard
 * across a partition. Which questions are answered, and which answers taken, is
 * decided by the production's own checks.
 */

import { isPrivateAddress } from "../../protocol/address.ts";
import type { Advert } from "../../protocol/discovery.ts";
import {
  decodeDatagram,
  encodeAnswerDatagram,
  encodeQuestionDatagram,
} from "../../protocol/discovery_codec.ts";
import type {
  DiscoveryAnswer,
  DiscoveryQuestion,
} from "../../protocol/discovery_words.ts";
import { OpenQuestions } from "../../nodes/host/discovery/open_questions.ts";
import { QuestionChecks } from "../../nodes/host/discovery/question_checks.ts";
import type { Links } from "./chat_links.ts";
import type { Random } from "./random.ts";
import type { Machine, World } from "./world.ts";

/** How bad the network is for datagrams. */
export interface AirTemper {
  /** How often one is lost, and how often one comes twice. */
  lossChance: number;
  doubleChance: number;
  /** The longest that one travels, and how often one takes that long. */
  delayMsMax: number;
  slowChance: number;
}

/** One process that asks and answers. */
export interface Antenna {
  readonly machine: Machine;
  /** Where it is heard from. */
  readonly host: string;
  /** What it says of itself now. */
  advert(): Advert;
  /** An answer was taken. */
  heard(advert: Advert, host: string): void;
}

const SERVICE = "chat";
const CLUSTER = "sim";

/** All datagrams of a world. */
export class Air {
  /** Changed when the calm begins. */
  readonly temper: AirTemper;
  /** Datagrams go as bytes. */
  isEncoded = false;
  readonly #world: World;
  readonly #links: Links;
  readonly #stations = new Map<string, Station>();

  constructor(world: World, links: Links, temper: AirTemper) {
    this.#world = world;
    this.#links = links;
    this.temper = temper;
  }

  /** A process listens on its machine, in the place of an earlier one. */
  open(antenna: Antenna): Station {
    const station = new Station(antenna, this, this.#world.random);
    this.#stations.set(antenna.machine.name, station);
    return station;
  }

  /** To everybody, oneself as well. */
  broadcast(from: Station, question: DiscoveryQuestion): void {
    for (const to of this.#stations.values()) {
      this.#send(from, to, () => to.asked(question, from));
    }
  }

  answer(from: Station, to: Station, answer: DiscoveryAnswer): void {
    this.#send(from, to, () => to.answered(answer, from));
  }

  #send(from: Station, to: Station, arrive: () => void): void {
    const { random } = this.#world;
    const { lossChance, doubleChance, delayMsMax, slowChance } = this.temper;
    const there = to.antenna.machine;
    for (let copy = 0; copy < (random.chance(doubleChance) ? 2 : 1); copy++) {
      if (random.chance(lossChance)) continue;
      const longest = random.chance(slowChance) ? delayMsMax : 2;
      there.later(0.05 + random.next() * longest, () => {
        const isHeard = this.#stations.get(there.name) === to &&
          this.#links.hears(from.antenna.machine.name, there.name);
        if (isHeard) arrive();
      });
    }
  }
}

/** One process on the air. */
export class Station {
  readonly antenna: Antenna;
  readonly #air: Air;
  readonly #random: Random;
  readonly #questions = new OpenQuestions();
  readonly #checks = new QuestionChecks({
    service: SERVICE,
    cluster: CLUSTER,
    isKeyed: false,
  });

  constructor(antenna: Antenna, air: Air, random: Random) {
    if (!isPrivateAddress(antenna.host)) {
      throw new RangeError(`${antenna.host} would not be answered`);
    }
    this.antenna = antenna;
    this.#air = air;
    this.#random = random;
  }

  /** Asks who is there. */
  ask(): void {
    const nonce = Array.from(
      { length: 4 },
      () => this.#random.uint32().toString(16).padStart(8, "0"),
    ).join("");
    this.#questions.asked(nonce, this.#nowMs);
    this.#air.broadcast(
      this,
      this.#coded({
        ...{ service: SERVICE, cluster: CLUSTER, nonce, keyed: false },
        time: this.#nowMs,
      }),
    );
  }

  asked(question: DiscoveryQuestion, from: Station): void {
    const refusal = this.#checks.check(question, {
      host: from.antenna.host,
      nowMs: this.#nowMs,
      wallMs: this.#nowMs,
    });
    if (refusal !== undefined) return;
    const advert = this.antenna.advert();
    const answer = { nonce: question.nonce, time: this.#nowMs, advert };
    this.#air.answer(this, from, this.#codedAnswer(answer));
  }

  answered(answer: DiscoveryAnswer, from: Station): void {
    const taken = this.#questions.take(answer, this.#nowMs);
    if (typeof taken === "string") return;
    this.antenna.heard(answer.advert, from.antenna.host);
  }

  get #nowMs(): number {
    return Math.floor(this.antenna.machine.world.nowMs);
  }

  /** A question as it is after its journey. */
  #coded(question: DiscoveryQuestion): DiscoveryQuestion {
    if (!this.#air.isEncoded) return question;
    const bytes = encodeQuestionDatagram(question, undefined);
    const read = decodeDatagram(bytes, undefined);
    if (read.kind === "question") return read.question;
    throw new Error(`A question was read as ${JSON.stringify(read)}`);
  }

  #codedAnswer(answer: DiscoveryAnswer): DiscoveryAnswer {
    if (!this.#air.isEncoded) return answer;
    const bytes = encodeAnswerDatagram(answer, undefined);
    const read = decodeDatagram(bytes, undefined);
    if (read.kind === "answer") return read.answer;
    throw new Error(`An answer was read as ${JSON.stringify(read)}`);
  }
}

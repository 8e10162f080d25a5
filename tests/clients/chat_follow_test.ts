import { assert, assertEquals } from "@std/assert";
import { Random } from "../sim/random.ts";
import { CREDENTIALS, Driven, SESSION } from "./driven_chat.ts";

const SEEDS = 300;
const STEPS = 400;
const HOSTS = ["s0", "b", "c", "d", "e"] as const;
type Host = typeof HOSTS[number];

/**
 * A client of a group whose servers come and go and change their view all the
 * time; some of them know an older one, or not where all the others are.
 */
class Followed {
  readonly driven = new Driven({ targets: 1 });
  readonly sent: string[] = [];
  readonly results: string[] = [];
  readonly epochs: number[] = [];
  readonly dialled = new Set<string>();
  /** What took effect, in order: each number of the session once. */
  readonly done: string[] = [];
  readonly #random: Random;
  #up: ReadonlySet<Host> = new Set(HOSTS);
  #counter = 1;
  #at: Host | undefined;
  #dial: Host | undefined;

  constructor(seed: number) {
    this.#random = new Random(seed);
    this.driven.step({ kind: "login", credentials: CREDENTIALS });
  }

  /** One thing happens. */
  step(): void {
    this.#look();
    this.driven.nowMs += 10;
    if (this.#dial !== undefined) return this.#answerDial(this.#dial);
    const dice = this.#random.int(10);
    if (dice === 0) this.#change();
    else if (dice === 1) this.#lose();
    else if (dice === 2) this.#send();
    else if (dice === 3) this.driven.pass(1_000);
    else this.#answer();
  }

  /** All servers are there, and stay. */
  settle(): void {
    this.#up = new Set(HOSTS);
    for (let i = 0; i < 10_000 && this.driven.core.openCount > 0; i++) {
      this.#look();
      if (this.#dial !== undefined) this.#answerDial(this.#dial);
      else if (this.driven.requests.length > 0) this.#answer();
      else this.driven.pass(1_000);
    }
    this.#look();
  }

  #look(): void {
    for (const effect of this.driven.effects.splice(0)) {
      if (effect.kind === "dial") {
        this.#at = undefined;
        this.#dial = HOSTS.find((host) => host === effect.address.host);
        assert(this.#dial !== undefined, effect.address.host);
        this.dialled.add(this.#dial);
      } else if (effect.kind === "view") {
        this.epochs.push(effect.view.epoch?.counter ?? 0);
      } else if (effect.kind === "result") {
        const { command, result } = effect;
        assert(command.kind === "send");
        this.results.push(`${command.text} ${result.kind}`);
      }
    }
  }

  #answerDial(host: Host): void {
    this.#dial = undefined;
    if (!this.#up.has(host)) {
      const problem = { code: "link-lost", text: "refused" } as const;
      return void this.driven.step({ kind: "unreachable", problem });
    }
    this.#at = host;
    this.driven.step({ kind: "connected" });
    this.driven.watched(this.#view(host));
  }

  #view(node: Host): Record<string, unknown> {
    const random = this.#random;
    const isBehind = random.chance(0.2);
    return {
      node,
      epoch: {
        counter: isBehind ? Math.max(1, this.#counter - 2) : this.#counter,
        store: "00c0ffee00c0ffee",
      },
      leader: random.pick(HOSTS),
      reason: "",
      servers: HOSTS.filter((id) => id === node || random.chance(0.8))
        .map((id) => ({
          id,
          ...id !== node && random.chance(0.8) && { address: `${id}:8091` },
        })),
    };
  }

  #change(): void {
    this.#counter += 1;
    if (this.#at === undefined) return;
    this.driven.says({ type: "view", ...this.#view(this.#at) });
  }

  #lose(): void {
    const random = this.#random;
    this.#up = new Set(HOSTS.filter(() => random.chance(0.5)));
    if (this.#at === undefined || this.#up.has(this.#at)) return;
    this.driven.lose();
  }

  #send(): void {
    const text = `${this.sent.length}`;
    this.sent.push(text);
    this.driven.send(text);
  }

  /** The server does what it was asked first, and its answer comes or is lost with it. */
  #answer(): void {
    const request = this.driven.requests.shift();
    if (request === undefined || this.#at === undefined) return;
    const answer = this.#answerTo(request);
    if (this.#random.chance(0.1)) this.driven.lose();
    else this.driven.says({ id: request.id, ...answer });
  }

  #answerTo(request: Record<string, unknown>): Record<string, unknown> {
    const index = this.done.length;
    switch (request.type) {
      case "login":
        return { type: "ok", user: "ann", ...SESSION, index };
      case "resume":
        return { type: "ok", user: "ann", index };
      case "list":
        return { type: "ok", messages: [], index };
      case "ping":
        return { type: "ok", index };
      case "send": {
        const seq = Number(request.seq);
        const next = this.done.length + 1;
        if (seq > next) {
          return { type: "error", code: "sequence-gap", text: "gap" };
        }
        if (seq === next) this.done.push(String(request.text));
        return { type: "ok", seq, n: seq };
      }
      default:
        throw new Error(`Nobody asks for ${request.type}`);
    }
  }
}

Deno.test(`chat core: followed through ${SEEDS} random groups, nothing is lost or repeated`, () => {
  const dialled = new Set<string>();
  let count = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const world = new Followed(seed);
    for (let i = 0; i < STEPS; i++) world.step();
    world.settle();
    const { sent, done, results, epochs } = world;
    count += sent.length;
    assertEquals(done, sent, `seed ${seed}`);
    assertEquals(results, sent.map((text) => `${text} ok`), `seed ${seed}`);
    const isRising = epochs.every((epoch, i) =>
      i === 0 || epoch > epochs[i - 1]
    );
    assert(isRising, `seed ${seed}: ${epochs}`);
    for (const host of world.dialled) dialled.add(host);
  }
  assert(count > 10 * SEEDS, `only ${count} messages`);
  // The one that was given, and all that it was told of.
  assertEquals([...dialled].sort(), [...HOSTS].sort());
});

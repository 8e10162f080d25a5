/** Warnings of discovery, which anybody without a key can cause. */

import { assertEquals } from "@std/assert";
import { DiscoveryCore } from "../../election/discovery.ts";
import { DISCOVERY_TIMING } from "../../election/discovery_contract.ts";
import type { Advert } from "../../protocol/discovery.ts";

const SELF = { id: "m", kind: "server", priority: 0 } as const;
const STORE = "0123456789abcdef";
const EPOCH = { counter: 1, store: STORE };
const TEN_MINUTES_MS = 600_000;

/** A node of a group that holds data, beside as many others as somebody makes up. */
class Flooded {
  warnings = 0;
  #nowMs = 0;
  #count = 0;
  readonly #core = new DiscoveryCore({
    ...{ self: SELF, store: STORE, dissolved: [], seed: 1 },
    timing: DISCOVERY_TIMING,
  });

  constructor() {
    const group = {
      ...{ id: STORE, isVoid: false, isAppliedVoid: false, epoch: EPOCH },
      ...{ isActive: true, isLeader: true, leader: SELF },
      ...{ hasWitness: false, isIndispensable: false },
    };
    this.#core.step({ kind: "start", group }, this.#nowMs);
  }

  pass(ms: number): void {
    this.#nowMs += ms;
  }

  /** One more, with a store and a group of its own. */
  hear(id: (count: number) => string): void {
    this.#count += 1;
    const store = this.#count.toString(16).padStart(16, "f");
    const leader = { id: "x", priority: 0 };
    const advert: Advert = {
      ...{ service: "chat", cluster: "skein", kind: "server", priority: 0 },
      ...{ id: id(this.#count), store, incarnation: store, isOpen: true },
      ...{ peers: { port: 8_081 }, dissolved: [] },
      group: {
        ...{ id: store, isVoid: false, epoch: EPOCH, leader },
        ...{ isWorking: true, members: 1, voters: 1 },
      },
    };
    const peers = { host: "10.0.0.7", port: 8_081 };
    const effects = this.#core.step(
      { kind: "heard", advert, peers },
      this.#nowMs,
    );
    for (const effect of effects) {
      if (effect.kind === "note" && effect.level === "warn") this.warnings += 1;
    }
  }
}

for (
  const [what, id] of [
    ["rivals", (count: number) => `x${count}`],
    ["nodes with its own id", () => SELF.id],
  ] as const
) {
  Deno.test(`discovery: thousands of ${what} do not fill the log`, () => {
    const flooded = new Flooded();
    for (let count = 0; count < 5_000; count += 1) {
      flooded.pass(1);
      flooded.hear(id);
    }
    assertEquals(flooded.warnings, 64);
    flooded.pass(TEN_MINUTES_MS);
    flooded.hear(id);
    assertEquals(flooded.warnings, 65, "later the operator is told again");
  });
}

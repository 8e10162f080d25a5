/** Any question and answer of discovery, for property tests. */

import fc from "fast-check";
import {
  type Advert,
  DISSOLVED_MAX,
  type Endpoint,
} from "../../protocol/discovery.ts";
import type {
  DiscoveryAnswer,
  DiscoveryQuestion,
} from "../../protocol/discovery_words.ts";
import { NODES_MAX } from "../../protocol/view.ts";
import { anyEpoch, anyStore } from "./replica_messages.ts";

const anyName = fc.oneof(
  fc.stringMatching(/^[A-Za-z0-9._:-]{1,64}$/),
  fc.constant("n".repeat(64)),
);
const anyService = fc.constantFrom("chat" as const, "mesh", "edge");
const anyNonce = fc.stringMatching(/^[0-9a-f]{32}$/);
const anyPort = fc.integer({ min: 1, max: 65_535 });
const anyHost = fc.oneof(
  fc.ipV4(),
  fc.ipV6(),
  fc.stringMatching(/^[A-Za-z0-9._:%-]{1,253}$/),
  fc.integer({ min: 64, max: 253 }).map((length) => "h".repeat(length)),
  fc.constant("h".repeat(253)),
);
const anyEndpoint: fc.Arbitrary<Endpoint> = fc.record(
  { host: anyHost, port: anyPort },
  { requiredKeys: ["port"] },
);
const anyCount = fc.integer({ min: 0, max: NODES_MAX });

/** Any advert, of hosts however long. */
export const anyAdvert: fc.Arbitrary<Advert> = fc.record({
  service: anyService,
  cluster: anyName,
  id: anyName,
  kind: fc.constantFrom("server" as const, "witness" as const),
  priority: fc.maxSafeInteger(),
  store: anyStore,
  incarnation: anyStore,
  peers: anyEndpoint,
  clients: anyEndpoint,
  group: fc.record({
    id: anyStore,
    isVoid: fc.boolean(),
    isWorking: fc.boolean(),
    epoch: anyEpoch,
    leader: fc.record({
      id: anyName,
      priority: fc.maxSafeInteger(),
      clients: fc.record({ host: anyHost, port: anyPort }),
    }, { requiredKeys: ["id", "priority"] }),
    members: anyCount,
    voters: anyCount,
  }),
  dissolved: fc.array(anyStore, { maxLength: DISSOLVED_MAX }),
  isOpen: fc.boolean(),
}, {
  requiredKeys: [
    ...["service", "cluster", "id", "kind", "priority"] as const,
    ...["store", "incarnation", "peers", "dissolved", "isOpen"] as const,
  ],
});

/** Any question. */
export const anyQuestion: fc.Arbitrary<DiscoveryQuestion> = fc.record({
  service: anyService,
  cluster: anyName,
  nonce: anyNonce,
  time: fc.maxSafeNat(),
  keyed: fc.boolean(),
}, { requiredKeys: ["nonce", "time", "keyed"] });

/** Any answer. */
export const anyAnswer: fc.Arbitrary<DiscoveryAnswer> = fc.record({
  nonce: anyNonce,
  time: fc.maxSafeNat(),
  advert: anyAdvert,
});

/** A question as tests want it. */
export function questionOf(
  changes: Partial<DiscoveryQuestion> = {},
): DiscoveryQuestion {
  const nonce = crypto.getRandomValues(new Uint8Array(16)).toHex();
  return {
    ...{ service: "chat", cluster: "skein" },
    ...{ nonce, time: Date.now(), keyed: false },
    ...changes,
  };
}

/** A node that looks for a group. */
export function advertOf(changes: Partial<Advert> = {}): Advert {
  return {
    service: "chat",
    cluster: "skein",
    id: "server-1",
    kind: "server",
    priority: 0,
    store: "00000000000000a1",
    incarnation: "00000000000000b1",
    peers: { port: 8081 },
    clients: { port: 8091 },
    dissolved: [],
    isOpen: true,
    ...changes,
  };
}

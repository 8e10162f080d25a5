/** The words of discovery as JSON, and as frames; see `WIRE.md#discovery`. */

import { Type } from "typebox";
import { Compile } from "typebox/compile";
import {
  type Advert,
  type AdvertGroup,
  DATAGRAM_BYTES,
  DISSOLVED_MAX,
  type Endpoint,
  type ServiceName,
} from "./discovery.ts";
import { WireError } from "./errors.ts";
import { encodeFrame, FRAME } from "./frame.ts";
import { parseJson } from "./json.ts";
import { NODES_MAX } from "./view.ts";
import {
  COUNT_SCHEMA,
  EPOCH_SCHEMA,
  PRIORITY_SCHEMA,
  STORE_SCHEMA,
} from "./view_codec.ts";

/** Who is there? */
export interface DiscoveryQuestion {
  /** Only nodes of this service are asked; without it all are. */
  readonly service?: ServiceName;
  /** Only nodes of this cluster are asked; without it all are. */
  readonly cluster?: string;
  /** 32 hexadecimal digits, drawn at random, never used before. */
  readonly nonce: string;
  /** The asker's clock, in milliseconds since 1970. */
  readonly time: number;
  /** Whether the asker has a cluster key. */
  readonly keyed: boolean;
}

/** A question on a link; there is room for what the asker is. */
export interface DiscoveryAsk extends DiscoveryQuestion {
  /** Only of nodes, so that whoever is asked knows of them as well. */
  readonly advert?: Advert;
}

/** I am. */
export interface DiscoveryAnswer {
  /** That of the question. */
  readonly nonce: string;
  /** The answerer's clock, in milliseconds since 1970. */
  readonly time: number;
  readonly advert: Advert;
}

/** Bytes of a question's nonce. */
export const QUESTION_NONCE_BYTES = 16;

/** Bytes of a datagram before its JSON. */
export const DATAGRAM_HEADER_BYTES = 40;

const TEXT_BYTES_MAX = DATAGRAM_BYTES - DATAGRAM_HEADER_BYTES;

const NAME_SCHEMA = Type.String({ pattern: "^[A-Za-z0-9._:-]{1,64}$" });
const NONCE_SCHEMA = Type.String({ pattern: "^[0-9a-f]{32}$" });

/** An IP address, with a zone or not, or a name that DNS could have. */
const HOST = /^[A-Za-z0-9._:%-]{1,253}$/;
const HOST_SCHEMA = Type.String({ pattern: HOST.source });
const PORT_SCHEMA = Type.Integer({ minimum: 1, maximum: 65_535 });
const ENDPOINT_SCHEMA = Type.Object({
  host: Type.Optional(HOST_SCHEMA),
  port: PORT_SCHEMA,
});
const SERVICE_SCHEMA = Type.Union([
  Type.Literal("chat"),
  Type.Literal("mesh"),
  Type.Literal("edge"),
]);
const NODE_COUNT_SCHEMA = Type.Integer({ minimum: 0, maximum: NODES_MAX });

const ADVERT_SCHEMA = Type.Object({
  service: SERVICE_SCHEMA,
  cluster: NAME_SCHEMA,
  id: NAME_SCHEMA,
  kind: Type.Union([Type.Literal("server"), Type.Literal("witness")]),
  priority: PRIORITY_SCHEMA,
  store: STORE_SCHEMA,
  incarnation: Type.String({ pattern: "^[0-9a-f]{16}$" }),
  peers: ENDPOINT_SCHEMA,
  clients: Type.Optional(ENDPOINT_SCHEMA),
  group: Type.Optional(Type.Object({
    id: STORE_SCHEMA,
    isVoid: Type.Boolean(),
    isWorking: Type.Boolean(),
    epoch: EPOCH_SCHEMA,
    leader: Type.Object({
      id: NAME_SCHEMA,
      priority: PRIORITY_SCHEMA,
      clients: Type.Optional(
        Type.Object({ host: HOST_SCHEMA, port: PORT_SCHEMA }),
      ),
    }),
    members: NODE_COUNT_SCHEMA,
    voters: NODE_COUNT_SCHEMA,
  })),
  dissolved: Type.Array(STORE_SCHEMA, { maxItems: DISSOLVED_MAX }),
  isOpen: Type.Boolean(),
});

const QUESTION = Compile(Type.Object({
  service: Type.Optional(SERVICE_SCHEMA),
  cluster: Type.Optional(NAME_SCHEMA),
  nonce: NONCE_SCHEMA,
  time: COUNT_SCHEMA,
  keyed: Type.Boolean(),
  advert: Type.Optional(ADVERT_SCHEMA),
}));

const ANSWER = Compile(Type.Object({
  nonce: NONCE_SCHEMA,
  time: COUNT_SCHEMA,
  advert: ADVERT_SCHEMA,
}));

/** What an answer can do without, in this order. */
const SHORTENINGS: readonly ((advert: Advert) => Advert)[] = [
  withoutLeaderClients,
  withoutClientHost,
  withoutPeerHost,
];

// Frames

/**
 * The same question on a link, where the handshake has proved the key. Of the
 * asker's advert, a host that no name or address can be is left out.
 */
export function encodeDiscoverAsk(ask: DiscoveryAsk): Uint8Array<ArrayBuffer> {
  const { advert, ...question } = ask;
  if (advert === undefined) {
    return encodeFrame(FRAME.discoverAsk, questionText(question));
  }
  const said = withReadableHosts(readAdvert(advert));
  return encodeFrame(
    FRAME.discoverAsk,
    jsonBytes({ ...readQuestion(question), advert: said }),
  );
}

/** @throws {WireError} `invalid-message` or `invalid-utf8`: close the link. */
export function readDiscoverAsk(payload: Uint8Array): DiscoveryAsk {
  const value = parseJson(payload);
  if (!QUESTION.Check(value)) throw broken("question");
  const { advert } = value;
  return {
    ...readQuestion(value),
    ...(advert !== undefined && { advert: readAdvert(advert) }),
  };
}

function readQuestion(question: DiscoveryQuestion): DiscoveryQuestion {
  const { service, cluster, nonce, time, keyed } = question;
  return {
    ...(service !== undefined && { service }),
    ...(cluster !== undefined && { cluster }),
    nonce,
    time,
    keyed,
  };
}

/**
 * The same answer on a link. Where hosts are so long that it would not fit
 * into a datagram, these are left out until it does: the leader's address,
 * then the host where people reach the node, then that of its peers, which
 * then stand for the address that the answer came from. A host that no name or
 * address can be is left out as well.
 */
export function encodeDiscoverAnswer(
  answer: DiscoveryAnswer,
): Uint8Array<ArrayBuffer> {
  return encodeFrame(FRAME.discoverAnswer, answerText(answer));
}

/** @throws {WireError} `invalid-message` or `invalid-utf8`: close the link. */
export function readDiscoverAnswer(payload: Uint8Array): DiscoveryAnswer {
  const value = parseJson(payload);
  if (!ANSWER.Check(value)) throw broken("answer");
  const { nonce, time, advert } = value;
  return { nonce, time, advert: readAdvert(advert) };
}

/** The JSON of a question. */
export function questionText(
  question: DiscoveryQuestion,
): Uint8Array<ArrayBuffer> {
  return jsonBytes(readQuestion(question));
}

/** The JSON of an answer; it fits into a datagram. */
export function answerText(
  { nonce, time, advert }: DiscoveryAnswer,
): Uint8Array<ArrayBuffer> {
  let said = withReadableHosts(readAdvert(advert));
  let text = jsonBytes({ nonce, time, advert: said });
  for (const shorten of SHORTENINGS) {
    if (text.length <= TEXT_BYTES_MAX) break;
    said = shorten(said);
    text = jsonBytes({ nonce, time, advert: said });
  }
  return text;
}

function jsonBytes(value: unknown): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(value));
}

function broken(what: string): WireError {
  return new WireError(
    "invalid-message",
    `Cannot read ${what} of discovery: wrong fields`,
  );
}

// Adverts

/** The fields that this version knows. */
function readAdvert(advert: Advert): Advert {
  const { service, cluster, id, kind, priority, store, incarnation } = advert;
  const { peers, clients, group, dissolved, isOpen } = advert;
  return {
    ...{ service, cluster, id, kind, priority, store, incarnation },
    peers: readEndpoint(peers),
    ...(clients !== undefined && { clients: readEndpoint(clients) }),
    ...(group !== undefined && { group: readGroup(group) }),
    dissolved: dissolved.slice(-DISSOLVED_MAX),
    isOpen,
  };
}

function readEndpoint({ host, port }: Endpoint): Endpoint {
  return host === undefined ? { port } : { host, port };
}

function readGroup(group: AdvertGroup): AdvertGroup {
  const { id, isVoid, isWorking, epoch, leader, members, voters } = group;
  const { clients } = leader;
  return {
    id,
    isVoid,
    isWorking,
    epoch: { counter: epoch.counter, store: epoch.store },
    leader: {
      id: leader.id,
      priority: leader.priority,
      ...(clients !== undefined &&
        { clients: { host: clients.host, port: clients.port } }),
    },
    members,
    voters,
  };
}

function withReadableHosts(advert: Advert): Advert {
  const { clients, group, peers } = advert;
  const leaderHost = group?.leader.clients?.host;
  const isLeaderUnreadable = leaderHost !== undefined && !HOST.test(leaderHost);
  const said = isLeaderUnreadable ? withoutLeaderClients(advert) : advert;
  return {
    ...said,
    peers: withReadableHost(peers),
    ...(clients !== undefined && { clients: withReadableHost(clients) }),
  };
}

function withReadableHost({ host, port }: Endpoint): Endpoint {
  return host !== undefined && HOST.test(host) ? { host, port } : { port };
}

function withoutLeaderClients(advert: Advert): Advert {
  const { group } = advert;
  if (group === undefined) return advert;
  const { id, priority } = group.leader;
  return { ...advert, group: { ...group, leader: { id, priority } } };
}

function withoutClientHost(advert: Advert): Advert {
  const { clients } = advert;
  if (clients === undefined) return advert;
  return { ...advert, clients: { port: clients.port } };
}

function withoutPeerHost(advert: Advert): Advert {
  return { ...advert, peers: { port: advert.peers.port } };
}

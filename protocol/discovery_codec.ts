/** Datagrams of discovery as bytes; see `WIRE.md#discovery`. */

import { createHmac, timingSafeEqual } from "node:crypto";
import { DATAGRAM_BYTES } from "./discovery.ts";
import {
  answerText,
  DATAGRAM_HEADER_BYTES,
  type DiscoveryAnswer,
  type DiscoveryQuestion,
  questionText,
  readDiscoverAnswer,
  readDiscoverAsk,
} from "./discovery_words.ts";
import { WireError } from "./errors.ts";

/** Why a datagram is neither question nor answer. */
export const DATAGRAM_REFUSALS = [
  /** Cut off, or a question that is not padded: an answer would be longer. */
  "short",
  /** Longer than any datagram of ours. */
  "long",
  /** Of another program. */
  "foreign",
  /** Of a later version. */
  "version",
  /** Its sender has another key, or somebody has changed it. */
  "mac",
  /** By its own words, its sender has a key and this node none, or the other way round. */
  "key-required",
  /** Not the JSON that was wanted. */
  "parse",
] as const;
export type DatagramRefusal = typeof DATAGRAM_REFUSALS[number];

/** What a datagram was found to be. */
export type Datagram =
  | { readonly kind: "question"; readonly question: DiscoveryQuestion }
  | { readonly kind: "answer"; readonly answer: DiscoveryAnswer }
  | { readonly kind: "refused"; readonly reason: DatagramRefusal };

/** `FE` never begins UTF-8 text; the rest reads "SKD". */
const MAGIC = Uint8Array.of(0xfe, 0x53, 0x4b, 0x44);
const VERSION = 1;
const KINDS = { question: 1, answer: 2 } as const;

const VERSION_AT = 4;
const KIND_AT = 5;
const MAC_AT = 6;
const LENGTH_AT = 38;

/**
 * Stands in for the key of those who have none: it tells Skein's datagrams
 * from others, and proves nothing.
 */
const NO_KEY = new TextEncoder().encode("Skein without a cluster key");

/**
 * A question as a datagram of exactly {@linkcode DATAGRAM_BYTES}.
 *
 * @param key The cluster key, if there is one.
 */
export function encodeQuestionDatagram(
  question: DiscoveryQuestion,
  key: Uint8Array | undefined,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(DATAGRAM_BYTES);
  writeDatagram(bytes, "question", { text: questionText(question), key });
  return bytes;
}

/**
 * An answer as a datagram of at most {@linkcode DATAGRAM_BYTES}. What does not
 * fit is left out: see {@linkcode encodeDiscoverAnswer}.
 *
 * @param key The cluster key, if there is one.
 */
export function encodeAnswerDatagram(
  answer: DiscoveryAnswer,
  key: Uint8Array | undefined,
): Uint8Array<ArrayBuffer> {
  const text = answerText(answer);
  const bytes = new Uint8Array(DATAGRAM_HEADER_BYTES + text.length);
  writeDatagram(bytes, "answer", { text, key });
  return bytes;
}

/**
 * Reads what anybody may have sent. Cheap checks come first, and no JSON is
 * believed before the proof holds.
 *
 * @param key The cluster key, if there is one.
 */
export function decodeDatagram(
  bytes: Uint8Array,
  key: Uint8Array | undefined,
): Datagram {
  if (bytes.length < DATAGRAM_HEADER_BYTES) return refused("short");
  if (bytes.length > DATAGRAM_BYTES) return refused("long");
  if (MAGIC.some((byte, at) => bytes[at] !== byte)) return refused("foreign");
  if (bytes[VERSION_AT] !== VERSION) return refused("version");
  const kind = kindOf(bytes[KIND_AT]);
  if (kind === undefined) return refused("parse");
  const end = DATAGRAM_HEADER_BYTES + bytes[LENGTH_AT] * 256 +
    bytes[LENGTH_AT + 1];
  const isCut = end > bytes.length ||
    kind === "question" && bytes.length < DATAGRAM_BYTES;
  if (isCut) return refused("short");
  if (kind === "answer" && end < bytes.length) return refused("long");
  const text = bytes.subarray(DATAGRAM_HEADER_BYTES, end);
  const mac = macOf(kind, { text, key });
  if (!timingSafeEqual(mac, bytes.subarray(MAC_AT, LENGTH_AT))) {
    return refused(whyNotSigned(kind, { text, key }));
  }
  return kind === "question" ? questionOf(text) : answerOf(text);
}

interface Signed {
  readonly text: Uint8Array;
  readonly key: Uint8Array | undefined;
}

function writeDatagram(
  into: Uint8Array,
  kind: keyof typeof KINDS,
  signed: Signed,
): void {
  into.set(MAGIC);
  into[VERSION_AT] = VERSION;
  into[KIND_AT] = KINDS[kind];
  into.set(macOf(kind, signed), MAC_AT);
  into[LENGTH_AT] = signed.text.length >>> 8;
  into[LENGTH_AT + 1] = signed.text.length & 0xff;
  into.set(signed.text, DATAGRAM_HEADER_BYTES);
}

/** Begins unlike what a handshake signs: neither can be passed off as the other. */
function macOf(kind: keyof typeof KINDS, { text, key }: Signed): Uint8Array {
  return createHmac("sha256", key ?? NO_KEY)
    .update(`skein discovery ${VERSION} ${kind}\n`).update(text).digest();
}

/** For an operator who forgot a key somewhere: nothing else rests on it. */
function whyNotSigned(
  kind: keyof typeof KINDS,
  { text, key }: Signed,
): DatagramRefusal {
  if (kind === "answer") return "mac";
  const claimed = questionOf(text);
  const isOtherwise = claimed.kind === "question" &&
    claimed.question.keyed !== (key !== undefined);
  return isOtherwise ? "key-required" : "mac";
}

function questionOf(text: Uint8Array): Datagram {
  try {
    const { advert: _, ...question } = readDiscoverAsk(text);
    return { kind: "question", question };
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    return refused("parse");
  }
}

function answerOf(text: Uint8Array): Datagram {
  try {
    return { kind: "answer", answer: readDiscoverAnswer(text) };
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    return refused("parse");
  }
}

function kindOf(byte: number): keyof typeof KINDS | undefined {
  switch (byte) {
    case KINDS.question:
      return "question";
    case KINDS.answer:
      return "answer";
    default:
      return undefined;
  }
}

function refused(reason: DatagramRefusal): Datagram {
  return { kind: "refused", reason };
}

/**
 * What is rare between the nodes of a replicated group, and may be JSON: who
 * they are, and how they choose a view; see `WIRE.md#replica`.
 */

import { type Static, type TProperties, Type } from "typebox";
import { Compile } from "typebox/compile";
import { parseAddress } from "./address.ts";
import { WireError } from "./errors.ts";
import { encodeFrame, FRAME } from "./frame.ts";
import { parseJson } from "./json.ts";
import { FRAME_BYTES_MAX } from "./limits.ts";
import type { ReplicaHello, ReplicaMessage } from "./replica.ts";
import { REASON_CHARACTERS_MAX } from "./view.ts";
import {
  COUNT_SCHEMA,
  EPOCH_SCHEMA,
  PRIORITY_SCHEMA,
  readView,
  STORE_SCHEMA,
  VIEW_SCHEMA,
} from "./view_codec.ts";

const ADDRESS_CHARACTERS_MAX = 300;

/** The messages that are frequent or long: bytes, see `replica_codec.ts`. */
type Binary =
  | "append"
  | "appended"
  | "heartbeat"
  | "heartbeat-answer"
  | "forward"
  | "fetched";

/** A message that travels as JSON. */
export type ReplicaTalk = Exclude<ReplicaMessage, { kind: Binary }>;

const POSITION = Type.Object({ index: COUNT_SCHEMA, epoch: EPOCH_SCHEMA });
const INDEX = COUNT_SCHEMA;

function talk<Name extends string, Fields extends TProperties>(
  kind: Name,
  fields: Fields,
) {
  return Type.Object({ kind: Type.Literal(kind), ...fields });
}

/** Everything that is rare enough to be JSON. */
const TALK = Type.Union([
  talk("pre-vote", { round: COUNT_SCHEMA }),
  talk("pre-vote-answer", {
    round: COUNT_SCHEMA,
    granted: Type.Boolean(),
    promised: EPOCH_SCHEMA,
    accepted: Type.Optional(VIEW_SCHEMA),
  }),
  talk("prepare", { epoch: EPOCH_SCHEMA }),
  talk("promise", {
    epoch: EPOCH_SCHEMA,
    accepted: Type.Optional(VIEW_SCHEMA),
    last: Type.Optional(POSITION),
    isDraining: Type.Boolean(),
    isDamaged: Type.Boolean(),
  }),
  talk("refuse", { epoch: EPOCH_SCHEMA, promised: EPOCH_SCHEMA }),
  talk("accept", { view: VIEW_SCHEMA }),
  talk("accepted", { epoch: EPOCH_SCHEMA }),
  talk("active", { view: VIEW_SCHEMA }),
  talk("unaware", { epoch: EPOCH_SCHEMA }),
  talk("election", {}),
  talk("alive", {}),
  talk("mismatch", {
    epoch: EPOCH_SCHEMA,
    previous: POSITION,
    hint: POSITION,
  }),
  talk("read-index", { token: COUNT_SCHEMA }),
  talk("read-index-answer", {
    token: COUNT_SCHEMA,
    index: Type.Optional(INDEX),
  }),
  talk("snapshot-needed", { epoch: EPOCH_SCHEMA, index: INDEX }),
  talk("leaving", {
    reason: Type.String({ maxLength: REASON_CHARACTERS_MAX }),
    isForGood: Type.Boolean(),
  }),
  talk("fetch", { from: INDEX, to: INDEX }),
]);
const TALK_CHECK = Compile(TALK);

/** Of one kind each, made when a message of that kind is wrong: they say where. */
const KIND_CHECKS = new Map<unknown, { Errors: typeof TALK_CHECK.Errors }>();

const HELLO_CHECK = Compile(Type.Object({
  store: STORE_SCHEMA,
  kind: Type.Union([Type.Literal("server"), Type.Literal("witness")]),
  priority: PRIORITY_SCHEMA,
  group: Type.Optional(STORE_SCHEMA),
  clientAddress: Type.Optional(
    Type.String({ maxLength: ADDRESS_CHARACTERS_MAX }),
  ),
}));

/** The first frame of a link between nodes of a group. */
export function encodeReplicaHello(
  hello: ReplicaHello,
): Uint8Array<ArrayBuffer> {
  return encodeJson(FRAME.replicaHello, hello);
}

/** @throws {WireError} `invalid-message` or `invalid-utf8`: close the link. */
export function readReplicaHello(payload: Uint8Array): ReplicaHello {
  const value = parseJson(payload);
  if (!HELLO_CHECK.Check(value)) {
    throw new WireError("invalid-message", "Cannot read hello: wrong fields");
  }
  const { store, kind, priority, group, clientAddress } = value;
  try {
    if (clientAddress !== undefined) parseAddress(clientAddress);
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    throw new WireError("invalid-message", `Cannot read hello: ${text}`, {
      cause,
    });
  }
  return { store, kind, priority, group, clientAddress };
}

function encodeJson(kind: number, value: object): Uint8Array<ArrayBuffer> {
  const frame = encodeFrame(
    kind,
    new TextEncoder().encode(JSON.stringify(value)),
  );
  if (frame.length > FRAME_BYTES_MAX) {
    throw new RangeError(
      `Cannot send message: it has ${frame.length} bytes, limit is ${FRAME_BYTES_MAX}`,
    );
  }
  return frame;
}

/**
 * A message that travels as JSON, as a frame.
 *
 * @throws {RangeError} Above the bound of a frame: the caller's mistake.
 */
export function encodeReplicaTalk(
  message: ReplicaTalk,
): Uint8Array<ArrayBuffer> {
  if (message.kind !== "leaving") return encodeJson(FRAME.replicaTalk, message);
  const reason = message.reason.slice(0, REASON_CHARACTERS_MAX);
  return encodeJson(FRAME.replicaTalk, { ...message, reason });
}

/** @throws {WireError} `invalid-message` or `invalid-utf8`: close the link. */
export function readReplicaTalk(payload: Uint8Array): ReplicaTalk {
  const value = parseJson(payload);
  if (!TALK_CHECK.Check(value)) throw unreadable(value);
  switch (value.kind) {
    case "pre-vote-answer":
      return { ...value, accepted: viewOf(value.accepted) };
    case "promise": {
      const { kind, epoch, accepted, last, isDraining, isDamaged } = value;
      return {
        kind,
        epoch,
        accepted: viewOf(accepted),
        last,
        isDraining,
        isDamaged,
      };
    }
    case "accept":
    case "active":
      return { kind: value.kind, view: readView(value.view) };
    case "read-index-answer":
      return { kind: value.kind, token: value.token, index: value.index };
    case "pre-vote":
    case "prepare":
    case "refuse":
    case "accepted":
    case "unaware":
    case "election":
    case "alive":
    case "mismatch":
    case "read-index":
    case "snapshot-needed":
    case "leaving":
    case "fetch":
      return value;
  }
}

function viewOf(value: Static<typeof VIEW_SCHEMA> | undefined) {
  return value === undefined ? undefined : readView(value);
}

/** What is wrong with a message. */
function unreadable(value: unknown): WireError {
  const isObject = typeof value === "object" && value !== null;
  const kind = isObject && "kind" in value ? value.kind : undefined;
  const schema = TALK.anyOf.find((one) => one.properties.kind.const === kind);
  if (schema === undefined) {
    const known = TALK.anyOf.map((one) => one.properties.kind.const);
    return new WireError(
      "invalid-message",
      `Cannot read message: its kind is none of ${known.join(", ")}`,
    );
  }
  const check = KIND_CHECKS.get(kind) ?? Compile(schema);
  KIND_CHECKS.set(kind, check);
  const [error] = check.Errors(value);
  const where = error?.instancePath.slice(1).replaceAll("/", ".") ?? "";
  const why = error?.message ?? "wrong fields";
  return new WireError(
    "invalid-message",
    `Cannot read ${schema.properties.kind.const}: ${
      where === "" ? why : `"${where}" ${why}`
    }`,
  );
}

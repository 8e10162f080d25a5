/** How a node and its group are: the answer to a `status` request; see `WIRE.md#chat-clients`. */

import { Type } from "typebox";
import { Compile } from "typebox/compile";
import type { Epoch, StoreId } from "./epoch.ts";
import { WireError } from "./errors.ts";
import type { NodeId } from "./ids.ts";
import { type NodeKind, NODES_MAX } from "./view.ts";

/** Where a node stands in its group; `none` where it is in no view that is known. */
export type NodeRole = "primary" | "member" | "learner" | "witness" | "none";

/** The newest view known to be active, by the names of its nodes. */
export interface ViewStatus {
  readonly epoch: Epoch;
  readonly primary: NodeId;
  readonly members: readonly NodeId[];
  readonly voters: readonly NodeId[];
  /** The voters before: until the change is done, a majority of these is needed too. */
  readonly previousVoters?: readonly NodeId[];
  /** Why this view was made, for people. */
  readonly reason: string;
  /** How long the node that answers has known it to be active. */
  readonly ageMs: number;
}

/** Another node of the group, as the one that answers sees it. */
export interface PeerStatus {
  readonly id: NodeId;
  readonly kind: NodeKind;
  readonly role: NodeRole;
  /** Its replica port, `HOST:PORT`, where it is known. */
  readonly address?: string;
  /** Where people reach it, `HOST:PORT`, where that is known. */
  readonly clientAddress?: string;
  /** Whether a link to it stands. */
  readonly isLinked: boolean;
  /** Why none stands. */
  readonly problem?: string;
  /** Up to where it has acknowledged the log; of a primary's servers only. */
  readonly acknowledgedIndex?: number;
}

/** Another group that holds data as well: the two never merge by themselves. */
export interface RivalStatus {
  /** The store that founded it. */
  readonly group: StoreId;
  readonly leader: NodeId;
  readonly epoch: Epoch;
  /** The replica port of a node of it, `HOST:PORT`. */
  readonly address: string;
}

/** Rivals that a status names; there may be more. */
export const RIVALS_SHOWN_MAX = 16;

/** What a server tells everybody who asks; a witness shows it on its admin page. */
export interface NodeStatus {
  readonly version: string;
  readonly cluster: string;
  /** Its id; `id` in an answer is the request's. */
  readonly node: NodeId;
  readonly store: StoreId;
  readonly kind: NodeKind;
  readonly role: NodeRole;
  readonly view?: ViewStatus;
  /** Whether a write sent to this server has somewhere to go just now. */
  readonly isWritable: boolean;
  /** What is waited for if it has not; sentences. */
  readonly waitsFor: readonly string[];
  /** The end of its log. */
  readonly lastIndex: number;
  readonly committedIndex: number;
  readonly appliedIndex: number;
  /**
   * The running hash of the state at `appliedIndex`, 16 hexadecimal digits:
   * the same on all servers at the same index. Empty on a witness.
   */
  readonly hash: string;
  /** Bytes in its data directory, and bytes left on that disk. */
  readonly diskUsedBytes?: number;
  readonly diskFreeBytes?: number;
  /** Connections of people. */
  readonly clients: number;
  /** To whom the node is open for want of a cluster key; absent with one. */
  readonly openTo?: string;
  /** The store that founded its group; absent while it is in none. */
  readonly group?: StoreId;
  /** How others find it: `udp 239.255.83.75:8090`; absent where all is configured. */
  readonly discover?: string;
  /** At most {@linkcode RIVALS_SHOWN_MAX}; absent if none was heard of lately. */
  readonly rivals?: readonly RivalStatus[];
  /** Every other node that is configured, linked or in the view. */
  readonly peers: readonly PeerStatus[];
}

const TEXT = Type.String({ maxLength: 1_024 });
const NAME = Type.String({ pattern: "^[A-Za-z0-9._:-]{1,64}$" });
const STORE = Type.String({ pattern: "^[0-9a-f]{16}$" });
const COUNT = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const KIND = Type.Union([Type.Literal("server"), Type.Literal("witness")]);
const ROLE = Type.Union([
  Type.Literal("primary"),
  Type.Literal("member"),
  Type.Literal("learner"),
  Type.Literal("witness"),
  Type.Literal("none"),
]);
const EPOCH = Type.Object({ counter: COUNT, store: STORE });
const NAMES = Type.Array(NAME, { maxItems: 2 * NODES_MAX });
const STATUS = Type.Object({
  version: TEXT,
  cluster: NAME,
  node: NAME,
  store: STORE,
  kind: KIND,
  role: ROLE,
  view: Type.Optional(Type.Object({
    epoch: EPOCH,
    primary: NAME,
    members: NAMES,
    voters: NAMES,
    previousVoters: Type.Optional(NAMES),
    reason: TEXT,
    ageMs: Type.Number({ minimum: 0 }),
  })),
  isWritable: Type.Boolean(),
  waitsFor: Type.Array(TEXT, { maxItems: 64 }),
  lastIndex: COUNT,
  committedIndex: COUNT,
  appliedIndex: COUNT,
  hash: Type.String({ pattern: "^(?:[0-9a-f]{16})?$" }),
  diskUsedBytes: Type.Optional(COUNT),
  diskFreeBytes: Type.Optional(COUNT),
  clients: COUNT,
  openTo: Type.Optional(TEXT),
  group: Type.Optional(STORE),
  discover: Type.Optional(TEXT),
  rivals: Type.Optional(Type.Array(
    Type.Object({ group: STORE, leader: NAME, epoch: EPOCH, address: TEXT }),
    { maxItems: RIVALS_SHOWN_MAX },
  )),
  peers: Type.Array(
    Type.Object({
      id: NAME,
      kind: KIND,
      role: ROLE,
      address: Type.Optional(TEXT),
      clientAddress: Type.Optional(TEXT),
      isLinked: Type.Boolean(),
      problem: Type.Optional(TEXT),
      acknowledgedIndex: Type.Optional(COUNT),
    }),
    { maxItems: 2 * NODES_MAX },
  ),
});
const CHECK = Compile(STATUS);

/**
 * Reads the fields of an answer to `status`; others that are there stay.
 *
 * @throws {WireError} `invalid-message`: names the field. Its server is none of
 *   ours, or of another version.
 */
export function readNodeStatus(
  fields: Readonly<Record<string, unknown>>,
): NodeStatus {
  if (CHECK.Check(fields)) return fields;
  const [error] = CHECK.Errors(fields);
  const where = error?.instancePath.slice(1).replaceAll("/", ".") ?? "";
  const reason = error?.message ?? "it is not as it should be";
  throw new WireError(
    "invalid-message",
    `Cannot read status: ${where === "" ? reason : `"${where}" ${reason}`}`,
  );
}

/** The group as its clients follow it: who leads, and where the servers are; see `WIRE.md#following-the-group`. */

import { Type } from "typebox";
import { Compile } from "typebox/compile";
import { type Address, parseAddress } from "./address.ts";
import type { Epoch, StoreId } from "./epoch.ts";
import type { NodeId } from "./ids.ts";
import { NODES_MAX } from "./view.ts";

/** A server of the group. */
export interface ChatServer {
  readonly id: NodeId;
  /**
   * Where clients find it, `HOST:PORT`, as the server that tells of it knows.
   * Absent for that server itself, which is where it was asked, and where it is
   * not known. A loopback address is of that server's own machine.
   */
  readonly address?: string;
}

/** What a server tells its clients of its group. */
export interface ChatView {
  /** The server that says it. */
  readonly node: NodeId;
  /** The store that founded the group, where that is known. */
  readonly group?: StoreId;
  /** Of the newest view that is known to be active; this and the next two are absent without one. */
  readonly epoch?: Epoch;
  readonly leader?: NodeId;
  /** Why that view was made, for people. */
  readonly reason?: string;
  /** At most twice {@linkcode NODES_MAX}; the one that says it among them. */
  readonly servers: readonly ChatServer[];
}

const NAME = Type.String({ pattern: "^[A-Za-z0-9._:-]{1,64}$" });
const STORE = Type.String({ pattern: "^[0-9a-f]{16}$" });
const TEXT = Type.String({ maxLength: 1_024 });
const VIEW = Type.Object({
  node: NAME,
  group: Type.Optional(STORE),
  epoch: Type.Optional(Type.Object({
    counter: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
    store: STORE,
  })),
  leader: Type.Optional(NAME),
  reason: Type.Optional(TEXT),
  servers: Type.Array(
    Type.Object({ id: NAME, address: Type.Optional(TEXT) }),
    { maxItems: 2 * NODES_MAX },
  ),
});
const CHECK = Compile(VIEW);

/** A view, as a line. */
export function formatView(view: ChatView): string {
  return `${JSON.stringify({ type: "view", ...view })}\n`;
}

/** The view in a push or in an answer to `watch`; undefined if there is none. */
export function readChatView(value: unknown): ChatView | undefined {
  if (!CHECK.Check(value)) return undefined;
  const { node, group, epoch, leader, reason, servers } = value;
  return {
    node,
    ...group !== undefined && { group },
    ...epoch !== undefined && { epoch },
    ...leader !== undefined && { leader },
    ...reason !== undefined && { reason },
    servers,
  };
}

/** Where a server is; undefined if that is not said, or is no address that can be dialled. */
export function serverAddress(server: ChatServer): Address | undefined {
  if (server.address === undefined) return undefined;
  try {
    const address = parseAddress(server.address);
    return address.port === 0 ? undefined : address;
  } catch (error) {
    // Of a server of another version: it knows no better address.
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

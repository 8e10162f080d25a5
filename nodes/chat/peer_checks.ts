/** Who may be linked: what two nodes that meet must agree on. */

import type { StoreId } from "../../protocol/epoch.ts";
import { WireError } from "../../protocol/errors.ts";
import type { Identity } from "../../protocol/handshake.ts";
import type { ReplicaHello } from "../../protocol/replica.ts";
import type { NodeKind } from "../../protocol/view.ts";
import type { FrameLink } from "./frame_link.ts";

/** A node and the link to it. */
export interface Joined {
  readonly link: FrameLink;
  readonly peer: Identity;
  readonly hello: ReplicaHello;
  /** Whether this side has dialed. */
  readonly isDialed: boolean;
}

/**
 * Refuses whoever contradicts itself, this node's own identity or its list.
 *
 * @throws {WireError} `id-taken` or `role-mismatch`: tell the peer.
 */
export function checkStranger(
  next: Pick<Joined, "peer" | "hello">,
  own: { self: Identity; store: StoreId; kind: NodeKind | undefined },
): void {
  const { peer, hello } = next;
  const { self, store, kind } = own;
  if (peer.id === self.id) {
    throw new WireError("id-taken", `The node id "${self.id}" is this node's`);
  }
  if (hello.store === store) {
    throw new WireError(
      "id-taken",
      `The data directory of "${peer.id}" is a copy of that of "${self.id}": both are ${store}`,
    );
  }
  const wanted = kind ?? (peer.role === "witness" ? "witness" : "server");
  if (
    hello.kind === wanted &&
    (hello.kind === "witness") === (peer.role === "witness")
  ) {
    return;
  }
  throw new WireError(
    "role-mismatch",
    `"${peer.id}" is a ${hello.kind} in the role "${peer.role}", wanted a ${wanted}`,
  );
}

/**
 * Whether a link that stands is kept though the same process comes again. Two
 * nodes that dial each other at once must both choose the same link: that of
 * the lower id.
 */
export function isKept(
  before: Joined,
  rival: { next: Joined; self: Identity },
): boolean {
  const { next, self } = rival;
  if (before.peer.incarnation !== next.peer.incarnation) return false;
  const isOfLower = ({ isDialed, peer }: Joined) =>
    isDialed === (self.id < peer.id);
  return isOfLower(before) && !isOfLower(next);
}

/** Who may be linked: what two nodes that meet must agree on. */

import type { StoreId } from "../../../protocol/epoch.ts";
import { WireError } from "../../../protocol/errors.ts";
import type { Identity } from "../../../protocol/handshake.ts";
import type {
  ReplicaHello,
  ReplicaMessage,
} from "../../../protocol/replica.ts";
import type { NodeKind } from "../../../protocol/view.ts";
import type { FrameLink } from "../../host/frame_link.ts";

/**
 * How far ahead of this node an epoch may be: a thousand ballots a second for
 * 35 years. Counters end at 2^53 - 1, and a promise is never taken back: one
 * broken message must not use them up.
 */
export const EPOCHS_AHEAD_MAX = 2 ** 40;

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
 * @throws {WireError} `id-taken`, `other-group` or `role-mismatch`: tell the peer.
 */
export function checkStranger(
  next: Pick<Joined, "peer" | "hello">,
  own: {
    self: Identity;
    store: StoreId;
    group: StoreId | undefined;
    kind: NodeKind | undefined;
  },
): void {
  const { peer, hello } = next;
  const { self, store, group, kind } = own;
  if (peer.id === self.id) {
    throw new WireError("id-taken", `The node id "${self.id}" is this node's`);
  }
  if (hello.store === store) {
    throw new WireError(
      "id-taken",
      `The data directory of "${peer.id}" is a copy of that of "${self.id}": both are ${store}`,
    );
  }
  if (
    group !== undefined && hello.group !== undefined && group !== hello.group
  ) {
    throw new WireError(
      "other-group",
      `"${peer.id}" belongs to group ${hello.group}, "${self.id}" to ${group}`,
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

/** Why nothing is fetched from a process: it may have begun anew in another group. */
export function otherProcess(found: Identity, wanted: StoreId): WireError {
  return new WireError(
    "wrong-node",
    `"${found.id}" is there, but not the process that is linked as ${wanted}`,
  );
}

/**
 * Refuses epochs that no group comes to.
 *
 * @param counter Of the highest epoch that this node has promised.
 * @throws {WireError} `invalid-message`: close the link.
 */
export function checkEpochs(message: ReplicaMessage, counter: number): void {
  const found = highestCounter(message);
  const counterMax = counter + EPOCHS_AHEAD_MAX;
  if (found <= counterMax) return;
  throw new WireError(
    "invalid-message",
    `Cannot take ${message.kind}: its epoch counter is ${found}, limit is ${counterMax}`,
  );
}

function highestCounter(message: ReplicaMessage): number {
  switch (message.kind) {
    case "append":
      // No entry is above the epoch of its append.
      return Math.max(message.epoch.counter, message.previous.epoch.counter);
    case "appended":
    case "heartbeat":
    case "heartbeat-answer":
    case "prepare":
    case "accepted":
    case "unaware":
    case "snapshot-needed":
      return message.epoch.counter;
    case "accept":
    case "active":
      return message.view.epoch.counter;
    case "pre-vote-answer":
      return Math.max(
        message.promised.counter,
        message.accepted?.epoch.counter ?? 0,
      );
    case "promise":
      return Math.max(
        message.epoch.counter,
        message.accepted?.epoch.counter ?? 0,
        message.last?.epoch.counter ?? 0,
      );
    case "refuse":
      return Math.max(message.epoch.counter, message.promised.counter);
    case "mismatch":
      return Math.max(
        message.epoch.counter,
        message.previous.epoch.counter,
        message.hint.epoch.counter,
      );
    case "fetched":
      return message.entries.at(-1)?.epoch.counter ?? 0;
    case "pre-vote":
    case "election":
    case "alive":
    case "forward":
    case "read-index":
    case "read-index-answer":
    case "leaving":
    case "fetch":
      return 0;
  }
}

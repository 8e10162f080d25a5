/** Clients that follow the group: each is told of the newest view, and of no other one. */

import type { RequestId } from "../../../protocol/chat.ts";
import { formatOk } from "../../../protocol/chat_answers.ts";
import {
  type ChatServer,
  type ChatView,
  formatView,
} from "../../../protocol/chat_view.ts";
import type { NodeStatus } from "../../../protocol/status.ts";
import type { Client } from "./client.ts";

/** How often to look for addresses that have come to be known since. */
const ADDRESSES_EVERY_MS = 1_000;

/**
 * Views change in milliseconds, and a client may be slow: it is told at the next
 * tick, of what holds then, and only if what it was told before is read.
 */
export class ViewWatchers {
  readonly #status: () => NodeStatus;
  /** Number of the view that each was told last; 0 for none. */
  readonly #told = new Map<Client, number>();
  /** The newest view as a line, and how many there were. */
  #newest = "";
  #number = 0;
  /** Whether it is the one that holds. */
  #holds = false;
  #isDue = false;
  #checkedMs = -Infinity;

  constructor(status: () => NodeStatus) {
    this.#status = status;
  }

  /** Answers what holds, and tells of what follows until {@linkcode drop}. */
  watch(client: Client, id: RequestId | undefined): void {
    const view = chatView(this.#status());
    this.#take(view);
    client.say(formatOk(id, { ...view }));
    this.#told.set(client, this.#holds ? this.#number : 0);
  }

  drop(client: Client): void {
    this.#told.delete(client);
  }

  groupChanged(): void {
    this.#isDue = true;
  }

  tick(nowMs: number): void {
    if (this.#told.size === 0) return;
    if (this.#isDue || nowMs - this.#checkedMs >= ADDRESSES_EVERY_MS) {
      this.#isDue = false;
      this.#checkedMs = nowMs;
      this.#take(chatView(this.#status()));
    }
    // While nobody leads, where the servers are is known as before.
    if (!this.#holds) return;
    for (const [client, number] of this.#told) {
      if (number === this.#number || !client.hasRoom) continue;
      this.#told.set(client, this.#number);
      client.say(this.#newest);
    }
  }

  #take(view: ChatView): void {
    this.#holds = view.epoch !== undefined;
    if (!this.#holds) return;
    const line = formatView(view);
    if (line === this.#newest) return;
    this.#newest = line;
    this.#number += 1;
  }
}

/** What clients need of a server's status to follow its group. */
export function chatView(status: NodeStatus): ChatView {
  const { node, group, view, peers } = status;
  const servers: ChatServer[] = [{ id: node }];
  for (const { id, kind, clientAddress } of peers) {
    if (kind !== "server") continue;
    servers.push({
      id,
      ...clientAddress !== undefined && { address: clientAddress },
    });
  }
  return {
    node,
    ...group !== undefined && { group },
    ...view !== undefined && {
      epoch: view.epoch,
      leader: view.primary,
      reason: view.reason,
    },
    servers: servers.sort((one, other) => one.id < other.id ? -1 : 1),
  };
}

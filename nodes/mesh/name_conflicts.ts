/** Equal names at two servers: the earlier login keeps it. */

import type { ClientDesk } from "./client_desk.ts";
import type { KnownServer, KnownServers } from "./known_servers.ts";
import type { Repairs } from "./repairs.ts";

/** What this part asks of the core around it. */
export interface ConflictParts {
  readonly servers: KnownServers;
  readonly desk: ClientDesk;
  readonly repairs: Repairs;
}

export class NameConflicts {
  readonly #parts: ConflictParts;
  /** Names of this server's clients that are in question. */
  readonly #names = new Set<string>();

  constructor(parts: ConflictParts) {
    this.#parts = parts;
  }

  /** Somebody has logged in elsewhere under this name. */
  check(name: string): void {
    if (this.#parts.desk.sessions.named(name) !== undefined) {
      this.#names.add(name);
    }
  }

  /** All users of a server are new here. */
  checkAll({ stream: { presence } }: KnownServer): void {
    for (const { name } of this.#parts.desk.sessions) {
      if (presence.since(name) !== undefined) this.#names.add(name);
    }
  }

  /**
   * Renames those of this server's clients who logged in later. What a server
   * that is still being caught up with says may have been so long ago: it is
   * waited for.
   */
  settle(): void {
    if (this.#names.size === 0) return;
    for (const name of [...this.#names]) {
      if (this.#settleName(name)) this.#names.delete(name);
    }
  }

  /** @returns Whether the question is answered. */
  #settleName(name: string): boolean {
    const { servers, desk, repairs } = this.#parts;
    const session = desk.sessions.named(name);
    if (session === undefined) return true;
    let isSettled = true;
    for (const server of servers) {
      if (!server.isUp || server === servers.self) continue;
      const since = server.stream.presence.since(name);
      if (since === undefined) continue;
      if (repairs.isBehind(server)) isSettled = false;
      else if (
        since < session.since ||
        since === session.since && server.id < servers.self.id
      ) {
        desk.rename(session, server);
        return true;
      }
    }
    return isSettled;
  }
}

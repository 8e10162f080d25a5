/** The clients of one server who are logged in: their names and rooms. */

import type { ClientNumber } from "./contract.ts";

export interface Session {
  readonly client: ClientNumber;
  /** Unique among the sessions. */
  name: string;
  /** Milliseconds since 1970. */
  readonly since: number;
  readonly rooms: Set<string>;
}

interface Room {
  readonly clients: Set<ClientNumber>;
  /** The same; made anew after a change, and then shared by all messages. */
  list: readonly ClientNumber[] | undefined;
}

const NOBODY: readonly ClientNumber[] = [];

export class Sessions {
  readonly #byClient = new Map<ClientNumber, Session>();
  readonly #byName = new Map<string, Session>();
  readonly #rooms = new Map<string, Room>();

  [Symbol.iterator](): IterableIterator<Session> {
    return this.#byClient.values();
  }

  get count(): number {
    return this.#byClient.size;
  }

  get(client: ClientNumber): Session | undefined {
    return this.#byClient.get(client);
  }

  named(name: string): Session | undefined {
    return this.#byName.get(name);
  }

  inRoom(room: string): readonly ClientNumber[] {
    const found = this.#rooms.get(room);
    if (found === undefined) return NOBODY;
    return found.list ??= [...found.clients];
  }

  add(client: ClientNumber, of: { name: string; since: number }): void {
    const session: Session = { client, ...of, rooms: new Set() };
    this.#byClient.set(client, session);
    this.#byName.set(session.name, session);
  }

  remove(session: Session): void {
    for (const room of session.rooms) this.leave(session, room);
    this.#byClient.delete(session.client);
    this.#byName.delete(session.name);
  }

  rename(session: Session, name: string): void {
    this.#byName.delete(session.name);
    session.name = name;
    this.#byName.set(name, session);
  }

  join(session: Session, name: string): void {
    session.rooms.add(name);
    let room = this.#rooms.get(name);
    if (room === undefined) {
      room = { clients: new Set(), list: undefined };
      this.#rooms.set(name, room);
    }
    room.clients.add(session.client);
    room.list = undefined;
  }

  leave(session: Session, name: string): void {
    session.rooms.delete(name);
    const room = this.#rooms.get(name);
    if (room === undefined) return;
    room.clients.delete(session.client);
    room.list = undefined;
    if (room.clients.size === 0) this.#rooms.delete(name);
  }
}

/** Who is logged in at one server, and in which rooms. */

import { ROOMS_PER_CLIENT_MAX } from "../../protocol/mesh.ts";
import type { MeshEventBody, PresentUser } from "../../protocol/mesh_peer.ts";

/** Users of one server that another one keeps; more than one process can serve. */
export const USERS_PER_SERVER_MAX = 65_536;

interface Present {
  readonly since: number;
  readonly rooms: Set<string>;
}

type PresenceEvent = Extract<
  MeshEventBody,
  { kind: "login" | "logout" | "join" | "leave" }
>;

/**
 * Events may be told over a list that knows them already: the last one that
 * speaks of a user or of a user's room decides, and all of those are told.
 */
export class Presence {
  readonly #users = new Map<string, Present>();
  /** Names by room; none is empty. */
  readonly #rooms = new Map<string, Set<string>>();

  get count(): number {
    return this.#users.size;
  }

  /** When this name logged in, or undefined. */
  since(name: string): number | undefined {
    return this.#users.get(name)?.since;
  }

  /** In order of login. */
  *users(): Generator<PresentUser> {
    for (const [name, { since, rooms }] of this.#users) {
      yield { name, since, rooms: [...rooms] };
    }
  }

  *inRoom(room: string): Generator<{ name: string; since: number }> {
    for (const name of this.#rooms.get(room) ?? []) {
      const since = this.since(name);
      if (since !== undefined) yield { name, since };
    }
  }

  *rooms(): Generator<{ room: string; users: number }> {
    for (const [room, { size }] of this.#rooms) yield { room, users: size };
  }

  countIn(room: string): number {
    return this.#rooms.get(room)?.size ?? 0;
  }

  /** @returns Whether anybody came, went or was renamed. */
  apply(event: PresenceEvent): boolean {
    switch (event.kind) {
      case "login":
        return this.#login(event);
      case "logout": {
        const isThere = this.#users.has(event.name);
        this.#remove(event.name);
        return isThere;
      }
      case "join":
        this.#join(event.name, event.room);
        return false;
      case "leave":
        this.#leave(event.name, event.room);
        return false;
    }
  }

  /** Puts these users in place of all others. */
  replace(users: readonly PresentUser[]): void {
    this.#users.clear();
    this.#rooms.clear();
    for (const { name, since, rooms } of users) {
      this.#add(name, since);
      for (const room of rooms) this.#join(name, room);
    }
  }

  #login(event: Extract<PresenceEvent, { kind: "login" }>): boolean {
    const { name, since } = event;
    const isNew = !this.#users.has(name);
    if ("was" in event) {
      const isThere = this.#users.has(event.was);
      this.#remove(event.was);
      this.#add(name, since);
      for (const room of event.rooms) this.#join(name, room);
      return isThere || isNew;
    }
    const rooms = this.#users.get(name)?.rooms;
    if (rooms === undefined) this.#add(name, since);
    else this.#users.set(name, { since, rooms });
    return isNew;
  }

  #add(name: string, since: number): void {
    if (this.#users.has(name)) this.#remove(name);
    if (this.#users.size >= USERS_PER_SERVER_MAX) return;
    this.#users.set(name, { since, rooms: new Set() });
  }

  #remove(name: string): void {
    const user = this.#users.get(name);
    if (user === undefined) return;
    for (const room of user.rooms) this.#leave(name, room);
    this.#users.delete(name);
  }

  #join(name: string, room: string): void {
    const user = this.#users.get(name);
    if (user === undefined || user.rooms.size >= ROOMS_PER_CLIENT_MAX) return;
    user.rooms.add(room);
    const names = this.#rooms.get(room);
    if (names === undefined) this.#rooms.set(room, new Set([name]));
    else names.add(name);
  }

  #leave(name: string, room: string): void {
    this.#users.get(name)?.rooms.delete(room);
    const names = this.#rooms.get(room);
    names?.delete(name);
    if (names?.size === 0) this.#rooms.delete(room);
  }
}

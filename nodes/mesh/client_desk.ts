/** What a mesh server does with the requests of its clients. */

import { USER_NAME_CHARACTERS_MAX } from "../../protocol/chat.ts";
import type { NodeId } from "../../protocol/ids.ts";
import {
  LISTED_MAX,
  type ListedUser,
  type MeshMessage,
  type MeshRequestId,
  ROOMS_PER_CLIENT_MAX,
} from "../../protocol/mesh.ts";
import type { MeshEvent, MeshEventBody } from "../../protocol/mesh_peer.ts";
import type { MeshContext } from "./context.ts";
import type { ClientAsk, ClientNumber } from "./contract.ts";
import type { KnownServer, KnownServers } from "./known_servers.ts";
import { type Session, Sessions } from "./sessions.ts";

/**
 * Users of the whole cluster up to which everybody is told who comes and goes:
 * beyond it a storm of logins would cost its square.
 */
export const PRESENCE_TOLD_MAX = 200;

/** Who asks, and what its answer carries. */
export interface Asker {
  readonly client: ClientNumber;
  readonly id?: MeshRequestId | undefined;
}

type Ask<Kind extends ClientAsk["kind"]> =
  & Asker
  & Extract<ClientAsk, { kind: Kind }>;

/** What the desk asks of the core around it. */
export interface DeskParts {
  readonly context: MeshContext;
  readonly servers: KnownServers;
  isDraining(): boolean;
  publish(body: MeshEventBody): MeshEvent;
}

export class ClientDesk {
  readonly sessions = new Sessions();
  readonly #parts: DeskParts;
  readonly #context: MeshContext;

  constructor(parts: DeskParts) {
    this.#parts = parts;
    this.#context = parts.context;
  }

  login({ client, id, name }: Ask<"login">): void {
    const context = this.#context;
    const { sessions } = this;
    const { clientsMax, id: server } = context.options;
    const session = sessions.get(client);
    if (session !== undefined) {
      const text = `Already logged in as ${session.name}`;
      return context.refuse(client, id, { code: "logged-in", text });
    }
    if (this.#parts.isDraining()) {
      const text = `Server ${server} takes no new clients: it is being emptied`;
      return context.refuse(client, id, { code: "draining", text });
    }
    if (sessions.count >= clientsMax) {
      const text =
        `Server ${server} has ${clientsMax} clients, and takes no more`;
      return context.refuse(client, id, { code: "busy", text });
    }
    if (this.isTaken(name)) {
      const text = "username taken";
      return context.refuse(client, id, { code: "name-taken", text });
    }
    const since = context.timeMs;
    this.#parts.publish({ kind: "login", name, since });
    sessions.add(client, { name, since });
    context.log({ type: "login", from: name });
    context.tell([client], {
      type: "system",
      text: `Welcome ${name} to Server ${server}`,
      notice: { code: "welcome", name, server },
      id,
    });
  }

  say(ask: Ask<"say">): void {
    const context = this.#context;
    const { client, id, text, room, isLocal } = ask;
    const session = this.#sessionOf(ask);
    if (session === undefined) return;
    if (room !== undefined && !session.rooms.has(room)) {
      const text = `You are not in room ${room}: join it first`;
      return context.refuse(client, id, { code: "not-allowed", text });
    }
    const from = session.name;
    const inRoom = room === undefined ? undefined : { room };
    if (isLocal) {
      const server = context.options.id;
      this.deliver({
        ...{ type: "msg", from, server, text, time: context.timeMs, n: 0 },
        ...inRoom,
        local: true,
      });
      // `to`: other servers' histories have no part in it.
      context.log({ type: "msg", from, to: server, text, ...inRoom });
      return context.acknowledge(client, id, 0);
    }
    const { n } = this.#parts.publish({ kind: "msg", from, text, ...inRoom });
    context.log({ type: "msg", from, text, ...inRoom });
    context.acknowledge(client, id, n);
  }

  dm(ask: Ask<"dm">): void {
    const context = this.#context;
    const { client, id, to, text } = ask;
    const session = this.#sessionOf(ask);
    if (session === undefined) return;
    const at = this.#whereIs(to);
    if (at === undefined) {
      const text = `Nobody called ${to} is logged in`;
      return context.refuse(client, id, { code: "no-such-user", text });
    }
    const from = session.name;
    const { n } = this.#parts.publish({ kind: "dm", from, to, at, text });
    context.log({ type: "dm", from, to, text });
    context.acknowledge(client, id, n);
  }

  join(ask: Ask<"join" | "leave">): void {
    const context = this.#context;
    const { client, id, room } = ask;
    const session = this.#sessionOf(ask);
    if (session === undefined) return;
    const { name, rooms } = session;
    if (!rooms.has(room)) {
      if (rooms.size >= ROOMS_PER_CLIENT_MAX) {
        const text =
          `You are in ${rooms.size} rooms, limit is ${ROOMS_PER_CLIENT_MAX}`;
        return context.refuse(client, id, { code: "too-large", text });
      }
      this.sessions.join(session, room);
      this.#parts.publish({ kind: "join", name, room });
      context.log({ type: "join", from: name, room });
    }
    context.tell([client], {
      ...{ type: "system", text: `You are in room ${room}`, id },
      notice: { code: "joined", room },
    });
  }

  leave(ask: Ask<"join" | "leave">): void {
    const context = this.#context;
    const { client, id, room } = ask;
    const session = this.#sessionOf(ask);
    if (session === undefined) return;
    const { name, rooms } = session;
    if (!rooms.has(room)) {
      const text = `You are not in room ${room}`;
      return context.refuse(client, id, { code: "not-allowed", text });
    }
    this.sessions.leave(session, room);
    this.#parts.publish({ kind: "leave", name, room });
    context.log({ type: "leave", from: name, room });
    context.tell([client], {
      ...{ type: "system", text: `You have left room ${room}`, id },
      notice: { code: "left", room },
    });
  }

  /** Who is there, servers by id, their users in order of login. */
  who(ask: Ask<"who">): void {
    const { client, id, room } = ask;
    if (this.#sessionOf(ask) === undefined) return;
    const users: ListedUser[] = [];
    let total = 0;
    for (const { id: server, stream: { presence } } of this.#upServers()) {
      total += room === undefined ? presence.count : presence.countIn(room);
      const found = room === undefined
        ? presence.users()
        : presence.inRoom(room);
      for (const { name, since } of found) {
        if (users.length >= LISTED_MAX) break;
        users.push({ name, server, since });
      }
    }
    this.#context.tell([client], { type: "who", id, room, users, total });
  }

  /** The rooms with most users first. */
  rooms(ask: Ask<"rooms">): void {
    const { client, id } = ask;
    if (this.#sessionOf(ask) === undefined) return;
    const counts = new Map<string, number>();
    for (const { stream } of this.#upServers()) {
      for (const { room, users } of stream.presence.rooms()) {
        counts.set(room, (counts.get(room) ?? 0) + users);
      }
    }
    const rooms = Array.from(counts, ([room, users]) => ({ room, users }))
      .sort((a, b) => b.users - a.users || (a.room < b.room ? -1 : 1))
      .slice(0, LISTED_MAX);
    const total = counts.size;
    this.#context.tell([client], { type: "rooms", id, rooms, total });
  }

  /** A connection is over. */
  gone(client: ClientNumber): void {
    const session = this.sessions.get(client);
    if (session === undefined) return;
    this.sessions.remove(session);
    this.#parts.publish({ kind: "logout", name: session.name });
    this.#context.log({ type: "logout", from: session.name });
  }

  /** A message of a server that is no part of the mesh. */
  plainRelay(
    asker: Asker,
    message: Pick<MeshMessage, "from" | "server" | "text">,
  ): void {
    const context = this.#context;
    const { from, server, text } = message;
    if (this.#parts.servers.get(server) !== undefined) {
      const text =
        `Server ${server} speaks for itself here: its messages come over its own links`;
      return context.refuse(asker.client, asker.id, {
        ...{ code: "not-allowed", text },
      });
    }
    const time = context.timeMs;
    this.deliver({ type: "msg", from, server, text, time, n: 0 });
  }

  /** To those of this server's clients whom it is for. */
  deliver(message: MeshMessage): void {
    const context = this.#context;
    context.counters.delivered += 1;
    if (message.room === undefined) {
      return context.emit({ kind: "deliver", message });
    }
    const clients = this.sessions.inRoom(message.room);
    if (clients.length > 0) context.tell(clients, message);
  }

  /** To its receiver and its sender, as far as they are here. */
  deliverDirect(event: MeshEvent): void {
    const { origin, n, time, body } = event;
    if (body.kind !== "dm") return;
    const { from, to, at, text } = body;
    const server = origin.id;
    const clients: ClientNumber[] = [];
    // Somebody else may have had the name on the other side of a cut, or have
    // it since: what is told late is not for him.
    const isHere = at === this.#context.options.id;
    const receiver = isHere ? this.sessions.named(to) : undefined;
    if (receiver !== undefined) clients.push(receiver.client);
    if (server === this.#context.options.id && from !== to) {
      const sender = this.sessions.named(from);
      if (sender !== undefined) clients.push(sender.client);
    }
    if (clients.length === 0) return;
    this.#context.counters.delivered += 1;
    const message = { type: "dm", from, server, to, text, time, n } as const;
    this.#context.tell(clients, message);
  }

  /** Somebody came, went or was renamed, anywhere. */
  tellPresence(
    server: KnownServer,
    body: Extract<MeshEventBody, { kind: "login" | "logout" }>,
  ): void {
    if (!server.isUp || this.#usersCount() > PRESENCE_TOLD_MAX) return;
    const { name } = body;
    if (body.kind === "logout") {
      return this.#context.tellMore({
        ...{ type: "presence", event: "logout", name, server: server.id },
      });
    }
    const was = "was" in body ? body.was : undefined;
    this.#context.tellMore({
      ...{ type: "presence", name, server: server.id },
      event: was === undefined ? "login" : "rename",
      ...was !== undefined && { was },
    });
  }

  /** Whether somebody has this name, at any server that is reached. */
  isTaken(name: string): boolean {
    return this.#whereIs(name) !== undefined;
  }

  /** The server at which somebody of this name is; this one before others. */
  #whereIs(name: string): NodeId | undefined {
    for (const { id, isUp, stream } of this.#parts.servers) {
      if (isUp && stream.presence.since(name) !== undefined) return id;
    }
    return undefined;
  }

  /**
   * Gives a client another name: somebody at `winner` logged in under it
   * before.
   */
  rename(session: Session, winner: KnownServer): void {
    const context = this.#context;
    const { client, name: was, since } = session;
    const name = this.#freeName(was);
    this.sessions.rename(session, name);
    const rooms = [...session.rooms];
    this.#parts.publish({ kind: "login", name, since, was, rooms });
    context.log({ type: "rename", from: was, to: name });
    context.tell([client], {
      type: "system",
      text:
        `Another ${was} logged in earlier on Server ${winner.id}: you are ${name} now`,
      notice: { code: "renamed", name, was },
    });
  }

  #freeName(was: string): string {
    // Ids may have a colon, names may not.
    const server = this.#context.options.id.replaceAll(":", "-");
    for (let number = 1;; number++) {
      const suffix = number === 1 ? `-${server}` : `-${server}-${number}`;
      const name = cutName(was, suffix);
      if (!this.isTaken(name)) return name;
    }
  }

  #sessionOf({ client, id }: Asker): Session | undefined {
    const session = this.sessions.get(client);
    if (session === undefined) {
      const text = "Log in first";
      this.#context.refuse(client, id, { code: "not-logged-in", text });
    }
    return session;
  }

  #upServers(): KnownServer[] {
    return [...this.#parts.servers].filter(({ isUp }) => isUp)
      .sort((a, b) => a.id < b.id ? -1 : 1);
  }

  #usersCount(): number {
    let count = 0;
    for (const { isUp, stream } of this.#parts.servers) {
      if (isUp) count += stream.presence.count;
    }
    return count;
  }
}

/** The name with what follows it, cut so that it is no longer than a name may be. */
function cutName(name: string, suffix: string): string {
  const end = [...suffix].slice(-(USER_NAME_CHARACTERS_MAX - 1)).join("");
  const left = USER_NAME_CHARACTERS_MAX - [...end].length;
  return [...name].slice(0, left).join("") + end;
}

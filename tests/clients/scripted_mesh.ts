/** A mesh server alone that does what a test says: for what real ones do only in a rare moment. */

import { type Address, formatAddress } from "../../protocol/address.ts";
import type {
  HistoryLine,
  ListedServer,
  MeshRequest,
} from "../../protocol/mesh.ts";
import { readMeshRequest } from "../../protocol/mesh_requests.ts";

/** What it says of itself. */
export interface Script {
  readonly id?: string;
  clients?: number;
  isDraining?: boolean;
  /** Others that it knows of. */
  others?: readonly ListedServer[];
  /** Names that somebody has. */
  readonly taken?: Set<string>;
  /** Whether messages are taken in silence. */
  isSilent?: boolean;
  /** What its log has. */
  messages?: readonly HistoryLine[];
  /** Servers that a trace does not come to. */
  readonly missing?: readonly string[];
}

/** Answers as a server does; keeps what it was asked. */
export class ScriptedMesh implements Disposable {
  readonly script: Script;
  readonly requests: MeshRequest[] = [];
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #conns = new Set<Deno.TcpConn>();
  readonly #names = new Map<Deno.TcpConn, string>();
  #topology = "mesh";
  #isClosed = false;
  #n = 0;

  constructor(script: Script = {}) {
    this.script = script;
    void this.#accept();
  }

  get address(): Address {
    const { hostname, port } = this.#listener.addr;
    return { host: hostname, port };
  }

  /** For `-c`. */
  get where(): string {
    return formatAddress(this.address);
  }

  /** Who is logged in. */
  get names(): readonly string[] {
    return [...this.#names.values()];
  }

  /** Texts of the messages that came. */
  get texts(): readonly string[] {
    return this.requests.flatMap((one) => one.type === "msg" ? [one.text] : []);
  }

  /** Says something to everybody who is logged in. */
  async push(message: object): Promise<void> {
    await Promise.all(
      [...this.#names.keys()].map((conn) => write(conn, [message])),
    );
  }

  /** Cuts every connection. */
  drop(): void {
    for (const conn of [...this.#conns]) this.#end(conn);
  }

  [Symbol.dispose](): void {
    this.drop();
    if (!this.#isClosed) this.#listener.close();
    this.#isClosed = true;
  }

  #end(conn: Deno.TcpConn): void {
    this.#names.delete(conn);
    if (this.#conns.delete(conn)) conn.close();
  }

  async #accept(): Promise<void> {
    try {
      for await (const conn of this.#listener) void this.#serve(conn);
    } catch {
      // Closed while somebody came.
    }
  }

  async #serve(conn: Deno.TcpConn): Promise<void> {
    this.#conns.add(conn);
    const buffer = new Uint8Array(65_536);
    const decoder = new TextDecoder();
    let rest = "";
    try {
      for (;;) {
        const count = await conn.read(buffer);
        if (count === null) break;
        rest += decoder.decode(buffer.subarray(0, count), { stream: true });
        const lines = rest.split("\n");
        rest = lines.pop() ?? "";
        const answers: object[] = [];
        for (const line of lines) {
          const request = readMeshRequest(line);
          this.requests.push(request);
          if (request.type === "quit") return;
          answers.push(...this.#answers(conn, request));
        }
        await write(conn, answers);
      }
    } catch {
      // The client has gone, or this side has cut it off.
    } finally {
      this.#end(conn);
    }
  }

  #answers(conn: Deno.TcpConn, request: MeshRequest): object[] {
    const { id = "A", isSilent = false, missing = [] } = this.script;
    const about = "id" in request ? { id: request.id } : {};
    switch (request.type) {
      case "status":
        return [{ type: "status", ...about, ...this.#status() }];
      case "login":
        return [this.#login(conn, request)];
      case "msg": {
        if (isSilent) return [];
        const n = ++this.#n;
        const from = this.#names.get(conn);
        const { text, room } = request;
        return [
          { type: "msg", from, server: id, text, time: Date.now(), n, room },
          { type: "ok", ...about, n },
        ];
      }
      case "dm": {
        if (this.names.includes(request.to)) return [{ type: "ok", ...about }];
        const text = `No user "${request.to}" is here`;
        return [{ type: "error", text, code: "no-such-user", ...about }];
      }
      case "topology":
        this.#topology = request.topology ?? this.#topology;
        return [{
          ...{ type: "topology", ...about, topology: this.#topology },
          edges: [["A", "B"], ["B", "C"]],
        }];
      case "trace": {
        const reports = [{ server: "B", path: ["A", "B"], ms: 1.25 }];
        const topology = this.#topology;
        return [{ type: "trace", ...about, topology, reports, missing }];
      }
      case "drain":
        this.script.isDraining = request.undo !== true;
        return [{ type: "ok", ...about }];
      case "who": {
        const users = this.names.map((name) => ({
          name,
          server: id,
          since: 0,
        }));
        return [{ type: "who", ...about, users, total: users.length }];
      }
      case "ping":
        return [{ type: "pong", ...about }];
      case "join":
      case "leave":
        return [{ type: "ok", ...about }];
      case "history": {
        const { messages = [] } = this.script;
        const { room } = request;
        const found = messages.filter((one) => one.room === room);
        return [{ type: "history", ...about, messages: found, more: false }];
      }
      case "rooms":
      case "help":
      case "quit":
      case "relay_msg":
        return [];
    }
  }

  #login(
    conn: Deno.TcpConn,
    { username, id }: MeshRequest & { readonly type: "login" },
  ): object {
    const { taken, isDraining = false, id: server = "A" } = this.script;
    if (isDraining) {
      const text = `Server ${server} takes no new clients`;
      return { type: "error", text, code: "draining", id };
    }
    if (taken?.has(username)) {
      return { type: "error", text: "username taken", code: "name-taken", id };
    }
    this.#names.set(conn, username);
    const text = `Welcome ${username} to Server ${server}`;
    return {
      ...{ type: "system", text, id, code: "welcome", name: username, server },
    };
  }

  #status(): object {
    const { id = "A", others = [], isDraining = false } = this.script;
    const clients = this.script.clients ?? this.names.length;
    const self = { id, up: true, clients, draining: isDraining };
    return {
      ...{ service: "mesh", server: id, cluster: "skein", clients },
      ...{ draining: isDraining, topology: this.#topology },
      servers: [{ ...self, address: this.where }, ...others],
    };
  }
}

async function write(
  conn: Deno.TcpConn,
  messages: readonly object[],
): Promise<void> {
  const bytes = new TextEncoder().encode(
    messages.map((message) => `${JSON.stringify(message)}\n`).join(""),
  );
  for (let at = 0; at < bytes.length;) {
    at += await conn.write(bytes.subarray(at));
  }
}

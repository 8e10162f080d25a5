/** Three servers of NATS with a JetStream stream of three replicas. */

import Type, { type Static } from "typebox";
import { Value } from "typebox/value";
import type { Workbench } from "../workbench.ts";
import { type Fleet, GuardedProgram, until } from "./fleet.ts";
import { NATS_SUBJECT } from "./nats_link.ts";

const SERVERS = 3;
const WHOLE_WAIT_MS = 60_000;
const ASK_WAIT_MS = 2_000;
const STREAM = "BENCH";

const STREAM_CONFIG = {
  name: STREAM,
  subjects: [NATS_SUBJECT],
  retention: "limits",
  storage: "file",
  num_replicas: SERVERS,
  max_consumers: -1,
  max_msgs: -1,
  max_bytes: -1,
};

const StreamInfo = Type.Object({
  cluster: Type.Object({
    leader: Type.String(),
    replicas: Type.Array(Type.Object({
      name: Type.String(),
      current: Type.Boolean(),
      offline: Type.Optional(Type.Boolean()),
    })),
  }),
});

/** They write a majority's files before they answer, and sync later. */
export class NatsFleet implements Fleet {
  readonly ports: readonly number[];
  readonly #bench: Workbench;
  readonly #folder: string;
  readonly #routePorts: readonly number[];
  readonly #programs: GuardedProgram[] = [];

  private constructor(bench: Workbench) {
    const ports = bench.ports(2 * SERVERS);
    this.#bench = bench;
    this.#folder = bench.folder("nats");
    this.ports = ports.slice(0, SERVERS);
    this.#routePorts = ports.slice(SERVERS);
  }

  /** Resolves when the stream is there, with all its replicas. */
  static async start(bench: Workbench): Promise<NatsFleet> {
    const fleet = new NatsFleet(bench);
    for (let index = 0; index < SERVERS; index++) await fleet.#start(index);
    await until(async () => {
      const subject = `$JS.API.STREAM.CREATE.${STREAM}`;
      const body = JSON.stringify(STREAM_CONFIG);
      const answer = await request(fleet.ports[0], { subject, body });
      return answer.includes('"error"') ? undefined : true;
    }, { waitMs: WHOLE_WAIT_MS, what: "a stream of NATS" });
    await fleet.whole();
    return fleet;
  }

  get pids(): readonly number[] {
    return this.#programs.map(({ pid }) => pid);
  }

  pidOf(index: number): number {
    return this.#programs[index].pid;
  }

  async leader(): Promise<number> {
    const { leader } = (await this.#info()).cluster;
    return Number(leader.slice(1));
  }

  async restart(index: number): Promise<void> {
    await this.#programs[index].end();
    await this.#start(index);
  }

  async whole(): Promise<void> {
    await until(async () => {
      const { leader, replicas } = (await this.#info()).cluster;
      const isWhole = leader !== "" && replicas.length === SERVERS - 1 &&
        replicas.every(({ current, offline }) => current && offline !== true);
      return isWhole ? true : undefined;
    }, { waitMs: WHOLE_WAIT_MS, what: "all replicas of NATS" });
  }

  async end(): Promise<void> {
    await Promise.all(this.#programs.map((program) => program.end()));
    await Deno.remove(this.#folder, { recursive: true });
  }

  #info(): Promise<Static<typeof StreamInfo>> {
    return until(async () => {
      for (const port of this.ports) {
        try {
          const subject = `$JS.API.STREAM.INFO.${STREAM}`;
          const info = JSON.parse(await request(port, { subject, body: "" }));
          if (Value.Check(StreamInfo, info)) return info;
        } catch {
          // Another server may know.
        }
      }
    }, { waitMs: WHOLE_WAIT_MS, what: "what NATS says of its stream" });
  }

  async #start(index: number): Promise<void> {
    const routes = this.#routePorts.map((port) => `nats://127.0.0.1:${port}`);
    const config = this.#bench.write(
      `nats-${index}.conf`,
      [
        `server_name: n${index}`,
        `listen: "127.0.0.1:${this.ports[index]}"`,
        `jetstream { store_dir: "${this.#folder}/${index}", max_file: 4G }`,
        "cluster {",
        "  name: bench",
        `  listen: "127.0.0.1:${this.#routePorts[index]}"`,
        `  routes: [${routes.map((route) => `"${route}"`).join(", ")}]`,
        "}",
        'log_file: "/dev/null"',
        "",
      ].join("\n"),
    );
    const command = ["nats-server", "-c", config];
    this.#programs[index] = await GuardedProgram.start(this.#bench, command);
  }
}

/** Asks once, on a connection of its own. */
async function request(
  port: number,
  { subject, body }: { readonly subject: string; readonly body: string },
): Promise<string> {
  using conn = await Deno.connect({ hostname: "127.0.0.1", port });
  const late = setTimeout(() => conn.close(), ASK_WAIT_MS);
  try {
    const hello = { verbose: false, headers: true, no_responders: true };
    const bytes = new TextEncoder().encode(body).length;
    const text = `CONNECT ${JSON.stringify(hello)}\r\nSUB answer 1\r\n` +
      `PUB ${subject} answer ${bytes}\r\n${body}\r\n`;
    await conn.write(new TextEncoder().encode(text));
    let said = "";
    const decoder = new TextDecoder();
    for await (const chunk of conn.readable) {
      said += decoder.decode(chunk, { stream: true });
      const match = /^MSG answer 1 (\d+)\r\n/m.exec(said);
      if (match !== null) {
        const from = match.index + match[0].length;
        const answer = said.slice(from, from + Number(match[1]));
        if (answer.length === Number(match[1])) return answer;
      }
      if (/^HMSG/m.test(said)) throw new Error("NATS has nobody who answers");
    }
    throw new Error("NATS closed the connection");
  } finally {
    clearTimeout(late);
  }
}

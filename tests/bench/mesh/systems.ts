/** The servers that are measured side by side, each a process on this machine. */

import { GuardedProgram, until } from "../chat/fleet.ts";
import type { Workbench } from "../workbench.ts";
import type { Protocol } from "./generator.ts";

const START_WAIT_MS = 20_000;

/** Connections of the largest case, and some to spare. */
const OPEN_FILES = 4_096;

const MAIN = new URL("../../../main.ts", import.meta.url).pathname;

/** A server that runs. */
export interface Server {
  readonly port: number;
  readonly pid: number;
  /** Ends it, and removes what it wrote. */
  end(): Promise<void>;
}

/** One of the systems. */
export interface System {
  readonly name: string;
  readonly protocol: Protocol;
  /** What it does beside delivering, and how it is set up. */
  readonly about: string;
  /** Prints the version, and how Debian and most others call it; null: it is not installed but here. */
  readonly installed: {
    readonly version: readonly string[];
    readonly package: string;
  } | null;
  start(bench: Workbench, port: number): Promise<Server>;
}

/** Name of the system that all this is about. */
export const SKEIN = "Skein";
export const NGIRCD = "ngircd";
export const MOSQUITTO = "mosquitto";
export const NATS = "NATS core";

/** All but Skein. */
export const PEERS: readonly System[] = [
  {
    name: NGIRCD,
    protocol: "irc",
    about: "a channel; no penalties, but 3 commands of a client at a time",
    installed: { version: ["ngircd", "--version"], package: "ngircd" },
    start: (bench, port) => {
      const config = bench.write("ngircd.conf", ngircdConfig(port));
      return startProgram(bench, port, ["ngircd", "-n", "-f", config]);
    },
  },
  {
    name: MOSQUITTO,
    protocol: "mqtt",
    about: "a topic with QoS 0; nothing kept on disk",
    installed: { version: ["mosquitto", "-h"], package: "mosquitto" },
    start: (bench, port) => {
      const config = bench.write("mosquitto.conf", mosquittoConfig(port));
      return startProgram(bench, port, ["mosquitto", "-c", config]);
    },
  },
  {
    name: NATS,
    protocol: "nats",
    about: "a subject, no JetStream; nothing kept on disk",
    installed: {
      version: ["nats-server", "--version"],
      package: "nats-server",
    },
    start: (bench, port) => {
      const where = ["-a", "127.0.0.1", "-p", `${port}`];
      return startProgram(bench, port, ["nats-server", ...where]);
    },
  },
];

/** One server of the mesh, as anybody would start it. */
export const skein: System = {
  name: SKEIN,
  protocol: "skein",
  about: "its clients, and each message in the shared log",
  installed: null,
  start: async (bench, port) => {
    const folder = bench.folder("log");
    const child = bench.start(Deno.execPath(), {
      args: [
        ...["run", "-A", MAIN, "mesh"],
        ...["A", "127.0.0.1", `${port}`, `${folder}/chat.log`],
        // It is alone: nobody is looked for, nothing is sent to the network.
        ...["--discover", "static", "--exit-with-parent"],
      ],
    });
    const end = async () => {
      await child.end();
      await Deno.remove(folder, { recursive: true });
    };
    try {
      await child.said(/listens on/, START_WAIT_MS);
    } catch (error) {
      await end();
      throw error;
    }
    return { port, pid: child.pid, end };
  },
};

/** The version that is installed, in its own words; undefined: it is not. */
export function versionOf([command, ...args]: readonly string[]) {
  try {
    const { stdout } = new Deno.Command(command, { args, stderr: "null" })
      .outputSync();
    return new TextDecoder().decode(stdout).split("\n")[0].trim();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

function ngircdConfig(port: number): string {
  return [
    "[Global]",
    "Name = bench.local",
    "Info = bench",
    "Listen = 127.0.0.1",
    `Ports = ${port}`,
    "MotdPhrase = bench",
    "[Limits]",
    "MaxConnections = 0",
    "MaxConnectionsIP = 0",
    "MaxNickLength = 16",
    "MaxPenaltyTime = 0",
    "[Options]",
    "DNS = no",
    "Ident = no",
    "PAM = no",
    "",
  ].join("\n");
}

function mosquittoConfig(port: number): string {
  return [
    `listener ${port} 127.0.0.1`,
    "allow_anonymous true",
    "persistence false",
    "max_queued_messages 0",
    "log_dest none",
    "",
  ].join("\n");
}

async function startProgram(
  bench: Workbench,
  port: number,
  command: readonly string[],
): Promise<Server> {
  // Not each of them raises its own limit.
  const script = `ulimit -n ${OPEN_FILES} 2> /dev/null; exec "$@"`;
  const limited = ["sh", "-c", script, "sh", ...command];
  const program = await GuardedProgram.start(bench, limited);
  const { pid } = program;
  const end = () => program.end();
  try {
    await until(async () => {
      const conn = await Deno.connect({ hostname: "127.0.0.1", port });
      conn.close();
      return true;
    }, { waitMs: START_WAIT_MS, what: `${command[0]} to listen` });
  } catch (error) {
    await end();
    throw error;
  }
  return { port, pid, end };
}

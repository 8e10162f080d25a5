/** The flags of `skein-mesh`, and its words without flags. */

import {
  type Address,
  formatAddress,
  parseAddress,
} from "../../protocol/address.ts";
import { isName, type NodeId } from "../../protocol/ids.ts";
import { TOPOLOGIES, type Topology } from "../../protocol/mesh.ts";
import { MESH_SERVERS_MAX } from "../../protocol/mesh_peer.ts";
import { readClusterKey } from "../host/cluster_key.ts";
import {
  DISCOVER_UDP,
  discoverFlags,
} from "../host/discovery/discover_flags.ts";
import type { DiscoverWhere } from "../host/discovery/finder.ts";
import {
  defaultFlag,
  type FlagTable,
  optionalFlag,
  repeatedFlag,
} from "../host/flag_table.ts";
import {
  address,
  byteSize,
  choice,
  duration,
  type FlagValue,
  identifier,
  type NamedAddress,
  namedAddresses,
  path,
  wholeNumber,
} from "../host/flag_values.ts";
import {
  type Environment,
  FlagsExit,
  type ParsedFlags,
  parseFlags,
} from "../host/flags.ts";
import type { LogLevel } from "../host/log_level.ts";
import { nodeFlags } from "../host/node_flags.ts";
import { escapeText } from "../host/text.ts";
import { DEFAULT_RECENT, type RecentBounds } from "./contract.ts";
import { readPeersFile } from "./peers_file.ts";

/** From where a server takes people. */
export type ClientsFrom = "loopback" | "private" | "any";

/** What a mesh server is told to do. */
export interface MeshSettings {
  /** Undefined: {@linkcode defaultMeshId} of the port. */
  readonly id: NodeId | undefined;
  /** Where people, browsers and other servers come in. */
  readonly listen: Address;
  /** Whether another port will do if that one is in use. */
  readonly mayMovePort: boolean;
  /** The log that all servers of this machine write to. */
  readonly logFile: string;
  readonly logFileBytesMax: number;
  /** Full files of the log that are kept beside it. */
  readonly logFilesMax: number;
  /** Other servers, by configuration; this one may be among them. */
  readonly peers: readonly NamedAddress[];
  /** Where to look for others; undefined: nowhere. */
  readonly discover: DiscoverWhere | undefined;
  /** Whether somebody has asked for that. */
  readonly isDiscoverSaid: boolean;
  readonly topology: Topology;
  /** A server that is silent for so long is gone. */
  readonly peerTimeoutMs: number;
  readonly recent: RecentBounds;
  /** Where people reach this server, for other servers' clients; undefined: to be guessed. */
  readonly advertise: Address | undefined;
  /** Origins of web pages, beside this server's own, that may connect. */
  readonly allowOrigins: readonly string[];
  readonly clientsFrom: ClientsFrom;
  readonly cluster: string;
  readonly key: Uint8Array | undefined;
  readonly admin: Address | undefined;
  readonly logLevel: LogLevel;
  /** Stop when standard input closes. */
  readonly exitWithParent: boolean;
  /** What to warn of once there is a log. */
  readonly warnings: readonly string[];
}

/** Where a server listens when nothing is configured, as the seed has it. */
export const MESH_PORT = 5001;

/** Where the log is when nothing is configured, as the seed has it. */
export const LOG_FILE = "shared/logs/chat.log";

const PROGRAM = "skein-mesh";
const ANYWHERE = "0.0.0.0";
const MIB = 1_048_576;
const HOST_CHARACTERS_MAX = 58; // with `-65535` within the 64 of an id
const ORIGINS_MAX = 16;

const table = {
  id: optionalFlag({
    names: ["--id"],
    value: identifier(),
    defaultText: "HOST-PORT",
    about: "The server's name: people see it in what they are told.",
    variable: "SKEIN_ID",
  }),
  listen: optionalFlag({
    names: ["-l", "--listen"],
    value: address({ defaultHost: ANYWHERE, portMin: 0 }),
    defaultText: `${ANYWHERE}:${MESH_PORT}, or the next free port`,
    about:
      "Where people, browsers (ws://HOST:PORT/ws) and the other servers come in; a bare port listens at 0.0.0.0.",
    variable: "SKEIN_LISTEN",
  }),
  log: defaultFlag({
    names: ["--log"],
    value: path("file"),
    default: LOG_FILE,
    about:
      "The log of all messages and events, one JSON object a line; all servers of this machine may write to the same.",
    variable: "SKEIN_LOG",
  }),
  logSize: defaultFlag({
    names: ["--log-size"],
    value: byteSize({ bytesMin: 65_536, bytesMax: 1_024 * MIB }),
    default: 64 * MIB,
    about:
      "At which size the log is put aside as FILE.1 and a new one begun. Say the same to all servers of the machine.",
    variable: "SKEIN_LOG_SIZE",
  }),
  logFiles: defaultFlag({
    names: ["--log-files"],
    value: wholeNumber({ min: 1, max: 1_000 }),
    default: 8,
    about: "How many files FILE.1, FILE.2 … are kept.",
    variable: "SKEIN_LOG_FILES",
  }),
  peersFile: optionalFlag({
    names: ["--peers"],
    value: path("file"),
    about:
      'A JSON file that lists the other servers, such as {"B":"lab2:5001"}.',
    variable: "SKEIN_PEERS_FILE",
  }),
  peers: repeatedFlag({
    names: ["--peer"],
    value: namedAddresses("B=127.0.0.1:5002"),
    about: "Another server; once for each.",
    variable: "SKEIN_PEERS",
  }),
  ...discoverFlags({
    dnsPort: MESH_PORT,
    defaultText: "udp, where no other server is named",
  }),
  topology: defaultFlag({
    names: ["--topology"],
    value: choice(TOPOLOGIES),
    default: "mesh",
    about:
      "On which links messages go at once, until somebody chooses another with skein topology.",
    variable: "SKEIN_TOPOLOGY",
  }),
  peerTimeout: defaultFlag({
    names: ["--peer-timeout"],
    value: duration({ msMin: 200, msMax: 60_000 }),
    default: 1_500,
    about: "A server that is silent for so long is gone, 200ms to 1m.",
    variable: "SKEIN_PEER_TIMEOUT",
  }),
  keep: defaultFlag({
    names: ["--keep"],
    value: wholeNumber({ min: 1, max: 1_000_000 }),
    default: DEFAULT_RECENT.eventsMax,
    about:
      "How many messages of each server to keep for one that was away and comes back, in at most 839 bytes of memory for each, 8 MiB at least: fewer if they are long.",
    variable: "SKEIN_KEEP",
  }),
  keepFor: defaultFlag({
    names: ["--keep-for"],
    value: duration({ msMin: 1_000, msMax: 86_400_000 }),
    default: DEFAULT_RECENT.ageMsMax,
    about: "How long to keep them, 1s to 24h.",
    variable: "SKEIN_KEEP_FOR",
  }),
  advertise: optionalFlag({
    names: ["--advertise"],
    value: address({ portMin: 1 }),
    defaultText: "a private address of this machine",
    about:
      "Where people reach this server, for when another one sends them here.",
    variable: "SKEIN_ADVERTISE",
  }),
  allowOrigins: repeatedFlag({
    names: ["--allow-origin"],
    value: origins(),
    about:
      'A web page\'s origin that may connect by WebSocket, such as "https://chat.example"; once for each. Programs, and pages of this machine, always may.',
    variable: "SKEIN_ALLOW_ORIGINS",
  }),
  clients: defaultFlag({
    names: ["--clients"],
    value: choice(["loopback", "private", "any"]),
    default: "private",
    about:
      "From which addresses to take people: of this machine, of private networks as well, or any.",
    variable: "SKEIN_CLIENTS",
  }),
  ...nodeFlags,
} as const satisfies FlagTable;

/**
 * Reads what `skein-mesh` was started with: flags, or first some words without
 * flags, `ID HOST PORT LOG PEERS` in this order: as many as one likes, but no
 * HOST without its PORT.
 *
 * @param envFile Stands behind the environment.
 * @throws {FlagsExit} For help, and for what is wrong or contradicts.
 */
export function parseMeshFlags(
  args: readonly string[],
  env: Environment,
  envFile = ".env",
): MeshSettings {
  const words = readWords(args);
  const flags = parseFlags(table, {
    program: PROGRAM,
    about:
      "A server of the mesh chat: relays messages to every other server it reaches, and logs those of its own people.",
    examples: [
      ["skein-mesh", "finds the others on this network"],
      [
        "skein-mesh A 0.0.0.0 5001 shared/logs/chat.log peersA.json",
        "ID HOST PORT LOG PEERS",
      ],
      ["skein-mesh --id A -l 5001 --peer B=HOST:5002", "the same by flags"],
      ["skein-mesh --discover static", "one server alone, to try it"],
    ],
    args: words,
    env,
    envFile,
  });
  const { values } = flags;
  const peers = peersOf(flags);
  const { key, warnings } = readClusterKey(flags);
  return {
    id: values.id,
    listen: values.listen ?? { host: ANYWHERE, port: MESH_PORT },
    mayMovePort: values.listen === undefined,
    logFile: values.log,
    logFileBytesMax: values.logSize,
    logFilesMax: values.logFiles,
    peers,
    ...discoverOf(flags, peers),
    topology: values.topology,
    peerTimeoutMs: values.peerTimeout,
    recent: {
      ...DEFAULT_RECENT,
      eventsMax: values.keep,
      bytesMax: recentBytesMax(values.keep),
      ageMsMax: values.keepFor,
    },
    advertise: values.advertise,
    allowOrigins: values.allowOrigins,
    clientsFrom: values.clients,
    cluster: values.cluster,
    key,
    admin: values.admin,
    logLevel: values.logLevel,
    exitWithParent: values.exitWithParent,
    warnings: [...warnings, ...warningsOf(flags, key)],
  };
}

/** `HOST-PORT`, within what an id may have. */
export function defaultMeshId(hostname: string, port: number): NodeId {
  const name = hostname.replaceAll(/[^A-Za-z0-9._-]/g, "-");
  return `${name.slice(0, HOST_CHARACTERS_MAX) || "server"}-${port}`;
}

/** As much memory for each as by default, and no less of it. */
function recentBytesMax(eventsMax: number): number {
  const { bytesMax, eventsMax: usual } = DEFAULT_RECENT;
  return Math.max(bytesMax, Math.ceil(eventsMax * bytesMax / usual));
}

// Words without flags

const WORDS = ["ID", "HOST", "PORT", "LOG", "PEERS"] as const;

function wordsOf(args: readonly string[]): readonly string[] {
  const first = args.findIndex((arg) => arg.startsWith("-"));
  return first === -1 ? args : args.slice(0, first);
}

/** Puts a flag before each of the words. */
function readWords(args: readonly string[]): readonly string[] {
  const words = wordsOf(args);
  if (words.length > WORDS.length) {
    throw wordsExit(
      `Unexpected "${words[WORDS.length]}" behind ${WORDS.join(" ")}`,
    );
  }
  const [id, host, port, log, peers] = words;
  if (id === undefined) return args;
  if (!isName(id)) {
    throw wordsExit(
      `ID "${id}" is not a name, wanted 1 to 64 of A-Z, a-z, 0-9, ".", "_", ":" and "-"`,
    );
  }
  return [
    ...["--id", id],
    ...host === undefined ? [] : listenWords(host, port),
    ...log === undefined ? [] : ["--log", log],
    ...peers === undefined ? [] : ["--peers", peers],
    ...args.slice(words.length),
  ];
}

function listenWords(
  host: string,
  port: string | undefined,
): readonly string[] {
  if (port === undefined) {
    // Likely a slip: to start somewhere else would only show it later.
    throw wordsExit(`PORT is missing behind HOST "${host}"`);
  }
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) {
    throw wordsExit(`PORT "${port}" is not a port, wanted 0 to 65535`);
  }
  const bare = /^\[(.*)\]$/.exec(host)?.[1] ?? host;
  const listen = formatAddress({ host: bare, port: Number(port) });
  try {
    parseAddress(listen);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw wordsExit(`HOST "${host}" is not a host, wanted one as "0.0.0.0"`);
  }
  return ["--listen", listen];
}

function wordsExit(reason: string): FlagsExit {
  return new FlagsExit({
    code: 2,
    stderr: `${escapeText(`${PROGRAM}: ${reason}. Try "${PROGRAM} --help"`)}\n`,
  });
}

// What follows from several flags

type Flags = ParsedFlags<typeof table>;

function peersOf(flags: Flags): readonly NamedAddress[] {
  const { peersFile, peers } = flags.values;
  const all: NamedAddress[] = [...peers];
  if (peersFile !== undefined) {
    try {
      all.push(...readPeersFile(peersFile));
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw flags.refusal(`${flags.said("peersFile")}: ${error.message}`);
    }
  }
  if (all.length > MESH_SERVERS_MAX) {
    throw flags.refusal(
      `Found ${all.length} other servers, limit is ${MESH_SERVERS_MAX}`,
    );
  }
  const known = new Map<NodeId, string>();
  for (const { id, address: place } of all) {
    const before = known.get(id);
    const here = formatAddress(place);
    if (before !== undefined && before !== here) {
      throw flags.refusal(
        `Server "${id}" is at ${before} and at ${here}: one of them is wrong`,
      );
    }
    known.set(id, here);
  }
  return all.filter(({ id }, at) =>
    all.findIndex((other) => other.id === id) === at
  );
}

function discoverOf(
  flags: Flags,
  peers: readonly NamedAddress[],
): Pick<MeshSettings, "discover" | "isDiscoverSaid"> {
  const { discover, peersFile } = flags.values;
  if (discover !== undefined) {
    return {
      discover: discover.kind === "static" ? undefined : discover,
      isDiscoverSaid: true,
    };
  }
  const isListed = peersFile !== undefined || peers.length > 0;
  return {
    discover: isListed ? undefined : DISCOVER_UDP,
    isDiscoverSaid: false,
  };
}

function warningsOf(
  { values }: Flags,
  key: Uint8Array | undefined,
): readonly string[] {
  const warnings: string[] = [];
  if (values.clients === "any") {
    warnings.push(
      "People from any address may come in, and nothing that is sent is encrypted",
    );
    if (key === undefined) {
      warnings.push(
        "And without a cluster key anybody may be another server: set one",
      );
    }
  }
  return warnings;
}

/** `ORIGIN[,ORIGIN…]`, as browsers say it. */
function origins(): FlagValue<readonly string[]> {
  return {
    metavar: "ORIGIN",
    parse: (text) => {
      const all = text.split(",").map((part) => part.trim());
      if (all.length > ORIGINS_MAX) {
        throw new RangeError(
          `Found ${all.length} origins, limit is ${ORIGINS_MAX}`,
        );
      }
      for (const one of all) {
        const isOrigin = one === "null" ||
          URL.canParse(one) && new URL(one).origin === one;
        if (!isOrigin) {
          throw new RangeError(
            `"${one}" is no origin, wanted one such as "https://chat.example"`,
          );
        }
      }
      return all;
    },
    format: (all) => all.join(","),
  };
}

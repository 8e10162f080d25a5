/** What `skein-chat` and `skein-witness` are told alike: the group, and the node. */

import type { Address } from "../../../protocol/address.ts";
import type { NodeId } from "../../../protocol/ids.ts";
import type { NodeKind } from "../../../protocol/view.ts";
import { readClusterKey } from "../../host/cluster_key.ts";
import {
  DISCOVER_UDP,
  discoverFlags,
} from "../../host/discovery/discover_flags.ts";
import type { DiscoverWhere } from "../../host/discovery/finder.ts";
import { readEnvironmentFile } from "../../host/environment_file.ts";
import {
  defaultFlag,
  type FlagTable,
  optionalFlag,
  repeatedFlag,
  variableOnly,
} from "../../host/flag_table.ts";
import {
  address,
  duration,
  identifier,
  namedAddresses,
  path,
} from "../../host/flag_values.ts";
import type { Environment, ParsedFlags } from "../../host/flags.ts";
import type { LogLevel } from "../../host/log_level.ts";
import { nodeFlags } from "../../host/node_flags.ts";
import { DEFAULT_TIMING, type ReplicaTiming } from "../replica/contract.ts";
import {
  checkGroup,
  type GroupNode,
  isLoopbackHost,
  remarksOn,
} from "./group.ts";
import {
  numberedId,
  numberedNames,
  type NumberedVariable,
  readNumberedGroup,
} from "./numbered_group.ts";

/** What a server and a witness are told alike. */
export interface NodeSettings {
  readonly kind: NodeKind;
  /** Empty as long as it is not {@linkcode isNamed}. */
  readonly id: NodeId;
  /** Otherwise it is called as its directory is; see `takePlace`. */
  readonly isNamed: boolean;
  /** Where the other nodes of the group are let in. */
  readonly listenReplica: Address;
  /** Whether another port will do if that one is in use. */
  readonly mayMoveReplicaPort: boolean;
  /** The whole group, this node included: servers first. Empty if it is to be found. */
  readonly group: readonly GroupNode[];
  /** Where to look for the group; undefined if it is configured. */
  readonly discover: DiscoverWhere | undefined;
  /** The node's own directory; made when it is not there. */
  readonly data: string;
  /** Whether `data` is rather a folder, in which a node without a name has its own. */
  readonly isDataFolder: boolean;
  readonly timing: ReplicaTiming;
  readonly cluster: string;
  readonly key: Uint8Array | undefined;
  readonly admin: Address | undefined;
  readonly logLevel: LogLevel;
  /** Stop when standard input closes. */
  readonly exitWithParent: boolean;
  /** What to say at start once there is a log: what the group survives. */
  readonly notices: readonly string[];
  /** What to warn of once there is a log. */
  readonly warnings: readonly string[];
}

/** A server's replica port where nothing is configured, as the seed has it. */
export const REPLICA_PORT = 8081;

/** A witness's, behind those of three servers. */
export const WITNESS_PORT = 8084;

const DATA_FOLDER = "./data";

/** Where a node that is to be found lets all of its networks in. */
const ANYWHERE = "0.0.0.0";

/** The flags of both programs. */
export const groupFlags = {
  id: optionalFlag({
    names: ["--id"],
    value: identifier(),
    defaultText: "by number, else the host's name and four digits",
    about: "The node's name, which orders the servers: the highest one leads.",
    variable: "SKEIN_ID",
  }),
  servers: repeatedFlag({
    names: ["--server"],
    value: namedAddresses("server-1=192.168.1.1:8081"),
    about:
      "A server of the group, by its replica port; once for each, itself included. Without any: the variables SERVER1_IP, REPLICA_PORT1, CLIENT_PORT1, SERVER2_IP … say the same.",
  }),
  witnesses: repeatedFlag({
    names: ["--witness"],
    value: namedAddresses("server-1=192.168.1.1:8081"),
    about:
      "A witness of the group, which votes and keeps no data; once for each. Or WITNESS1_IP, WITNESS_PORT1 ….",
  }),
  ...discoverFlags({
    dnsPort: REPLICA_PORT,
    defaultText: "udp, where no server is named",
  }),
  listenReplica: optionalFlag({
    names: ["--listen-replica"],
    value: address({ defaultHost: "0.0.0.0", portMin: 0 }),
    defaultText:
      "the port that the group knows it by, at 0.0.0.0, or loopback where it is known by that",
    about:
      "Where to let the other nodes of the group in. Where nothing is configured, a port in use is passed over for one of the next.",
    variable: "SKEIN_LISTEN_REPLICA",
  }),
  data: optionalFlag({
    names: ["--data"],
    value: path("directory"),
    defaultText: "the id in DATA_DIR, which is ./data by default",
    about: "Where this node keeps its data, and no other one.",
    variable: "SKEIN_DATA",
  }),
  dataFolder: variableOnly({
    variable: "DATA_DIR",
    value: path("directory"),
  }),
  heartbeat: defaultFlag({
    names: ["--heartbeat"],
    value: duration({ msMin: 5, msMax: 60_000 }),
    default: DEFAULT_TIMING.heartbeatMs,
    about: "How often the primary shows that it lives.",
    variable: "SKEIN_HEARTBEAT",
  }),
  suspectAfter: defaultFlag({
    names: ["--suspect-after"],
    value: duration({ msMin: 20, msMax: 600_000 }),
    default: DEFAULT_TIMING.suspectAfterMs,
    about:
      "Take a node that is silent for so long for dead; over the internet rather 2s.",
    variable: "SKEIN_SUSPECT_AFTER",
  }),
  election: defaultFlag({
    names: ["--election"],
    value: duration({ msMin: 20, msMax: 600_000 }),
    default: DEFAULT_TIMING.electionMs,
    about: "How long an election may take before it is begun anew.",
    variable: "SKEIN_ELECTION",
  }),
  syncStall: defaultFlag({
    names: ["--sync-stall"],
    value: duration({ msMin: 100, msMax: 3_600_000 }),
    default: DEFAULT_TIMING.syncStallMs,
    about: "Give up, and leave it to the others, when the disk takes so long.",
    variable: "SKEIN_SYNC_STALL",
  }),
  ...nodeFlags,
} as const satisfies FlagTable;

type GroupFlags = ParsedFlags<typeof groupFlags>;

/** What one of the two programs adds. */
export interface NodePlace {
  readonly kind: NodeKind;
  readonly env: Environment;
  /** This node's number among its kind, and how it was said. */
  readonly number: number | undefined;
  readonly numberSaid: string;
  /** Whether the number was given on the command line. */
  readonly isNumberFlag: boolean;
}

/**
 * Makes sense of what both programs are told.
 *
 * @throws {FlagsExit} With what is missing or contradicts, and why.
 */
export function readNodeSettings(
  flags: GroupFlags,
  place: NodePlace,
): NodeSettings {
  const { values } = flags;
  try {
    const found = findGroup(flags, place);
    const { self } = found;
    const remarks = found.discover === undefined
      ? remarksOn(found.group)
      : undefined;
    const { key, warnings } = readClusterKey(flags);
    return {
      kind: place.kind,
      id: self.id,
      isNamed: self.id !== "",
      listenReplica: values.listenReplica ?? listenFor(self.address),
      mayMoveReplicaPort: found.discover !== undefined &&
        values.listenReplica === undefined,
      group: found.group,
      discover: found.discover,
      data: dataOf(flags, self.id),
      isDataFolder: self.id === "" && values.data === undefined,
      timing: readTiming(flags),
      cluster: values.cluster,
      key,
      admin: values.admin,
      logLevel: values.logLevel,
      exitWithParent: values.exitWithParent,
      notices: remarks === undefined
        ? found.notices
        : [...found.notices, remarks.survival],
      warnings: [...warnings, ...remarks?.warnings ?? []],
    };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw flags.refusal(error.message);
  }
}

/**
 * Where a node listens that others know by `known`: at all addresses, or at
 * loopback alone where it is known by that, so that a group on one machine
 * is open to nobody else.
 */
export function listenFor(known: Address): Address {
  const { host, port } = known;
  if (isLoopbackHost(host)) return known;
  return { host: host.includes(":") ? "::" : "0.0.0.0", port };
}

interface FoundGroup {
  readonly self: GroupNode;
  readonly group: readonly GroupNode[];
  readonly notices: readonly string[];
  /** Where to look for the rest of the group, if it is not known. */
  readonly discover?: DiscoverWhere;
}

/** What is configured counts before what can be found. */
function findGroup(flags: GroupFlags, place: NodePlace): FoundGroup {
  const { servers, witnesses, discover } = flags.values;
  const listed = servers.length + witnesses.length > 0;
  const group = listed ? [] : readNumberedGroup(variables(flags, place));
  if (!listed && group.length === 0) {
    return discover?.kind === "static"
      ? ownGroup(flags, place)
      : unknownGroup(flags, { ...place, discover: discover ?? DISCOVER_UDP });
  }
  if (discover !== undefined && discover.kind !== "static") {
    throw new RangeError(
      `${flags.said("discover")} looks for the group that ${
        listed ? '"--server"' : "SERVER1_IP and so on"
      } names already: leave one of the two out`,
    );
  }
  return listed
    ? listedGroup(flags, place)
    : numberedGroup(flags, { ...place, group });
}

/** A group that is to be found, or founded. */
function unknownGroup(
  flags: GroupFlags,
  place: NodePlace & { readonly discover: DiscoverWhere },
): FoundGroup {
  const { kind, discover } = place;
  refuseNumber(flags, place);
  const address = flags.values.listenReplica ??
    { host: ANYWHERE, port: kind === "server" ? REPLICA_PORT : WITNESS_PORT };
  const self: GroupNode = { id: flags.values.id ?? "", kind, address };
  return { self, group: [], notices: [], discover };
}

/** The group that `--server` and `--witness` name. */
function listedGroup(flags: GroupFlags, place: NodePlace): FoundGroup {
  const { id, servers, witnesses } = flags.values;
  if (place.isNumberFlag) {
    throw new RangeError(
      `${place.numberSaid} is for a group in SERVER1_IP and so on; "--server" needs "--id"`,
    );
  }
  if (servers.length === 0) {
    throw new RangeError(
      `"--witness" names no server: say "--server ID=HOST:PORT" for each`,
    );
  }
  const group = [
    ...servers.map((node) => ({ ...node, kind: "server" as const })),
    ...witnesses.map((node) => ({ ...node, kind: "witness" as const })),
  ];
  checkGroup(group);
  const own = group.filter(({ kind }) => kind === place.kind);
  if (own.length === 0) throw notOfKind(place.kind, `"--${place.kind}"`);
  const wanted = `one of ${own.map((node) => `"${node.id}"`).join(", ")}`;
  if (id === undefined) {
    if (own.length === 1) return { self: own[0], group, notices: [] };
    throw new RangeError(
      `"--id" is missing: which ${place.kind} is this? Wanted ${wanted}`,
    );
  }
  const self = own.find((node) => node.id === id);
  if (self === undefined) {
    throw new RangeError(
      `${
        flags.said("id")
      }: "${id}" is in no "--${place.kind}", wanted ${wanted}`,
    );
  }
  return { self, group, notices: [] };
}

/** The group that `SERVER1_IP` and its like describe. */
function numberedGroup(
  flags: GroupFlags,
  place: NodePlace & { readonly group: readonly GroupNode[] },
): FoundGroup {
  const { group, kind, number } = place;
  checkGroup(group);
  const own = group.filter((node) => node.kind === kind);
  const names = `${kind.toUpperCase()}1_IP`;
  if (own.length === 0) throw notOfKind(kind, names);
  const id = flags.values.id ??
    (number !== undefined
      ? numberedId(kind, number)
      : own.length === 1
      ? own[0].id
      : undefined);
  if (id === undefined) {
    throw new RangeError(
      `The group has ${own.length} ${
        kind === "server" ? "servers" : "witnesses"
      }: say which is this one, "--${kind}-number" 1 to ${own.length}, or ${kind.toUpperCase()}_NUMBER`,
    );
  }
  if (number !== undefined && number > own.length) {
    throw new RangeError(
      `${place.numberSaid} is ${number}, but the last is ${
        names.replace("1", String(own.length))
      }`,
    );
  }
  if (number !== undefined && id !== numberedId(kind, number)) {
    throw new RangeError(
      `${flags.said("id")} is "${id}", but ${place.numberSaid} ${number} is "${
        numberedId(kind, number)
      }"`,
    );
  }
  const self = own.find((node) => node.id === id);
  if (self === undefined) {
    throw new RangeError(
      `${flags.said("id")}: "${id}" is not in the group of ${names}, wanted ${
        own[0].id
      } to ${own[own.length - 1].id}`,
    );
  }
  return { self, group, notices: [] };
}

function refuseNumber(flags: GroupFlags, place: NodePlace): void {
  if (place.number === undefined) return;
  throw new RangeError(
    `${place.numberSaid} is ${place.number}, but there is no SERVER1_IP in the environment or in "${flags.envFile}"`,
  );
}

/** Nothing is configured and nothing to be found: a server is a group of its own. */
function ownGroup(flags: GroupFlags, place: NodePlace): FoundGroup {
  const where = `in the environment or in "${flags.envFile}"`;
  refuseNumber(flags, place);
  if (place.kind === "witness") {
    throw new RangeError(
      `A witness needs a group: say "--server" and "--witness", or set SERVER1_IP and so on ${where}`,
    );
  }
  const id = flags.values.id ?? numberedId("server", 1);
  const address = flags.values.listenReplica ??
    { host: "127.0.0.1", port: REPLICA_PORT };
  const self: GroupNode = { id, kind: "server", address };
  return {
    self,
    group: [self],
    notices: [
      'No group is configured: this server is one of its own, and nothing is copied elsewhere; "--server" or SERVER1_IP and so on make a group',
    ],
  };
}

function notOfKind(kind: NodeKind, wanted: string): RangeError {
  const [program, other] = kind === "server"
    ? ["skein-chat", "servers"]
    : ["skein-witness", "witnesses"];
  return new RangeError(
    `The group has no ${other}: ${program} needs a ${wanted}`,
  );
}

/** Looks names up in the environment, then in the file. */
function variables(
  flags: GroupFlags,
  place: NodePlace,
): (name: string) => NumberedVariable | undefined {
  const inFile = readEnvironmentFile(flags.envFile, numberedNames());
  return (name) => {
    const inEnvironment = place.env.get(name);
    const text = inEnvironment ?? inFile.get(name) ?? "";
    if (text === "") return undefined;
    const from = inEnvironment === undefined ? ` in "${flags.envFile}"` : "";
    return { text, said: `${name}${from}` };
  };
}

function dataOf(flags: GroupFlags, id: NodeId): string {
  const { data, dataFolder } = flags.values;
  if (data !== undefined) return data;
  const folder = (dataFolder ?? DATA_FOLDER).replace(/(?<=.)\/+$/, "");
  if (id === "") return folder;
  if (/^\.+$/.test(id)) {
    throw new RangeError(
      `${flags.said("id")}: "${id}" cannot name a directory: say "--data" too`,
    );
  }
  return `${folder}/${id}`;
}

function readTiming(flags: GroupFlags): ReplicaTiming {
  const { heartbeat, suspectAfter, election, syncStall } = flags.values;
  if (suspectAfter < 2 * heartbeat) {
    throw new RangeError(
      `${
        flags.said("suspectAfter")
      } is ${suspectAfter} ms, wanted at least twice ${
        flags.said("heartbeat")
      }, which is ${heartbeat} ms`,
    );
  }
  return {
    ...DEFAULT_TIMING,
    heartbeatMs: heartbeat,
    suspectAfterMs: suspectAfter,
    electionMs: election,
    syncStallMs: syncStall,
  };
}

/** `ID=HOST:PORT[,…]`. */

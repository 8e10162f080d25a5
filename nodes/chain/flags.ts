/** The flags of `skein-chain`. */

import type { Address } from "../../protocol/address.ts";
import { readClusterKey } from "../host/cluster_key.ts";
import {
  address,
  addressList,
  byteSize,
  choice,
  duration,
  identifier,
  path,
  wholeNumber,
} from "../host/flag_values.ts";
import {
  defaultFlag,
  type FlagTable,
  optionalFlag,
  requiredFlag,
  switchFlag,
} from "../host/flag_table.ts";
import {
  type Environment,
  type ParsedFlags,
  parseFlags,
} from "../host/flags.ts";
import type { LogLevel } from "../host/log_level.ts";
import { nodeFlags } from "../host/node_flags.ts";

/** How much of the messages a node prints. */
export type PrintMode = "full" | "summary" | "none";

/** From where a node takes plain text lines. */
export type LinesFrom = "none" | "loopback" | "private";

/** What a chain node is told to do. */
export interface ChainFlags {
  readonly listen: Address;
  /** Successors, first choice first; empty: this node is the tail. */
  readonly next: readonly Address[];
  /** How long a successor may be away before the next in `next` is used. */
  readonly nextTimeoutMs: number;
  readonly print: PrintMode;
  /** Answer plain text clients with a line per message. */
  readonly ackLines: boolean;
  readonly lines: LinesFrom;
  /** Where the tail appends messages; undefined: standard output. */
  readonly output: string | undefined;
  /** Where unacknowledged messages are kept; undefined: in memory. */
  readonly spool: string | undefined;
  /** Unacknowledged bytes kept before reading stops. */
  readonly queueBytesMax: number;
  /** A link silent for so long is given up. */
  readonly linkTimeoutMs: number;
  /**
   * The node's name; undefined only when none was given and `listen` leaves
   * the port to the system: then {@linkcode defaultNodeId} of the port.
   */
  readonly id: string | undefined;
  readonly cluster: string;
  readonly key: Uint8Array | undefined;
  readonly admin: Address | undefined;
  readonly logLevel: LogLevel;
  /** Stop when standard input closes. */
  readonly exitWithParent: boolean;
  /** What to log once there is a log. */
  readonly warnings: readonly string[];
}

/** What the defaults depend on; tests give their own. */
export interface ChainHost {
  /** The machine's name, where HOSTNAME does not say it. */
  hostname(): string;
  stdoutIsTerminal(): boolean;
  readonly envFile: string;
}

const MIB = 1024 * 1024;
const HOST_CHARACTERS_MAX = 58; // with `:65535` within the 64 of an id

const table = {
  listen: requiredFlag({
    names: ["-l", "--listen"],
    value: address({ defaultHost: "0.0.0.0", portMin: 0 }),
    about:
      "Where to listen, for nodes and for lines of text; a bare port listens at 0.0.0.0.",
    variable: "SKEIN_LISTEN",
  }),
  next: optionalFlag({
    names: ["-n", "--next"],
    value: addressList(),
    about:
      "The next node of the chain, then the ones to use while it is away; without any this node is the tail.",
    variable: "SKEIN_NEXT",
  }),
  nextFromOrdinal: optionalFlag({
    names: ["--next-from-ordinal"],
    value: dnsName(),
    about:
      "In place of --next: host NAME-K passes on to NAME-(K+1).SERVICE, at the port of --listen; the last one of --size is the tail.",
    variable: "SKEIN_NEXT_FROM_ORDINAL",
  }),
  size: optionalFlag({
    names: ["--size"],
    value: wholeNumber({ min: 1, max: 64 }),
    about: "How many nodes --next-from-ordinal counts, 1 to 64.",
    variable: "SKEIN_SIZE",
  }),
  nextTimeout: defaultFlag({
    names: ["--next-timeout"],
    value: duration({ msMin: 100, msMax: 3_600_000 }),
    default: 3_000,
    about: "How long a successor may be away before the next one is used.",
    variable: "SKEIN_NEXT_TIMEOUT",
  }),
  print: optionalFlag({
    names: ["--print"],
    value: choice(["full", "summary", "none"]),
    defaultText: "full on a terminal, else none",
    about: "What to print of the messages that come and go.",
    variable: "SKEIN_PRINT",
  }),
  ackLines: switchFlag({
    names: ["--ack-lines"],
    about: "Answer plain text clients with a line per message.",
    variable: "SKEIN_ACK_LINES",
  }),
  lines: optionalFlag({
    names: ["--lines"],
    value: choice(["none", "loopback", "private"]),
    defaultText: "private, with a cluster key loopback",
    about: "From which addresses to take plain text.",
    variable: "SKEIN_LINES",
  }),
  output: optionalFlag({
    names: ["--output"],
    value: path("file"),
    defaultText: "standard output",
    about: "Where the tail appends the messages.",
    variable: "SKEIN_OUTPUT",
  }),
  spool: optionalFlag({
    names: ["--spool"],
    value: path("directory"),
    defaultText: "in memory",
    about: "Where to keep messages on disk until they are acknowledged.",
    variable: "SKEIN_SPOOL",
  }),
  queue: defaultFlag({
    names: ["--queue"],
    value: byteSize({ bytesMin: MIB, bytesMax: 1024 * MIB }),
    default: 16 * MIB,
    about: "Unacknowledged bytes to keep before reading stops, 1MiB to 1GiB.",
    variable: "SKEIN_QUEUE",
  }),
  linkTimeout: defaultFlag({
    names: ["--link-timeout"],
    value: duration({ msMin: 200, msMax: 60_000 }),
    default: 3_000,
    about: "Give up a link that is silent for so long, 200ms to 1m.",
    variable: "SKEIN_LINK_TIMEOUT",
  }),
  id: optionalFlag({
    names: ["--id"],
    value: identifier(),
    defaultText: "HOSTNAME:PORT",
    about: "The node's name, for logs and for the other nodes.",
    variable: "SKEIN_ID",
  }),
  ...nodeFlags,
} as const satisfies FlagTable;

/**
 * Reads what `skein-chain` was started with.
 *
 * @throws {FlagsExit} For help, and for a wrong flag or a contradiction.
 */
export function parseChainFlags(
  args: readonly string[],
  env: Environment,
  host: ChainHost = thisHost,
): ChainFlags {
  const flags = parseFlags(table, {
    program: "skein-chain",
    about:
      "A node of a message chain: takes messages, prints them, passes them on, and acknowledges them once the tail has them.",
    examples: [
      ["skein-chain -l 3527", "the tail: has no next node"],
      ["skein-chain -l 3526 -n HOST:3527", "passes on to it"],
      ["skein-chain -l 3525 -n HOST:3526,HOST:3527", "goes round a dead node"],
      ["echo hello | nc HOST 3525", "sends a message"],
    ],
    args,
    env,
    envFile: host.envFile,
  });
  const { values } = flags;
  const hostname = env.get("HOSTNAME") || host.hostname();
  const next = successors(flags, hostname);
  const { key, warnings } = readClusterKey(flags);
  return {
    listen: values.listen,
    next,
    nextTimeoutMs: values.nextTimeout,
    print: values.print ?? (host.stdoutIsTerminal() ? "full" : "none"),
    ackLines: values.ackLines,
    lines: values.lines ?? (key === undefined ? "private" : "loopback"),
    // All pods of a StatefulSet have the same flags; its tail alone uses this.
    output: next.length === 0 ? values.output : undefined,
    spool: values.spool,
    queueBytesMax: values.queue,
    linkTimeoutMs: values.linkTimeout,
    id: values.id ??
      (values.listen.port === 0
        ? undefined
        : defaultNodeId(hostname, values.listen.port)),
    cluster: values.cluster,
    key,
    admin: values.admin,
    logLevel: values.logLevel,
    exitWithParent: values.exitWithParent,
    warnings,
  };
}

/** `HOSTNAME:PORT`, within what an id may have. */
export function defaultNodeId(hostname: string, port: number): string {
  const name = hostname.replaceAll(/[^A-Za-z0-9._-]/g, "-");
  return `${name.slice(0, HOST_CHARACTERS_MAX) || "node"}:${port}`;
}

/** A node's place among the pods of a StatefulSet. */
export interface OrdinalPlace {
  /** The headless Service: a DNS name, whole or within the search domains. */
  readonly service: string;
  /** How many pods there are. */
  readonly size: number;
  /** Where every pod listens. */
  readonly port: number;
}

/**
 * Finds a pod's successor: `NAME-K` passes on to `NAME-(K+1).SERVICE`.
 *
 * @returns The successor, or undefined for the last one, which is the tail.
 * @throws {RangeError} When the host name has no ordinal, or one beyond `size`.
 */
export function nextFromOrdinal(
  hostname: string,
  place: OrdinalPlace,
): Address | undefined {
  const label = hostname.split(".")[0];
  const match = /^(.*[^-])-(0|[1-9]\d{0,5})$/.exec(label);
  if (match === null) {
    throw new RangeError(
      `Host name "${hostname}" has no ordinal, wanted one such as "chain-0"`,
    );
  }
  const ordinal = Number(match[2]);
  if (ordinal >= place.size) {
    throw new RangeError(
      `Host name "${hostname}" has the ordinal ${ordinal}, wanted 0 to ${
        place.size - 1
      }`,
    );
  }
  if (ordinal === place.size - 1) return undefined;
  return {
    host: `${match[1]}-${ordinal + 1}.${place.service}`,
    port: place.port,
  };
}

function successors(
  flags: ParsedFlags<typeof table>,
  hostname: string,
): readonly Address[] {
  const { listen, next, nextFromOrdinal: service, size, output } = flags.values;
  if (next !== undefined && service !== undefined) {
    throw flags.refusal(
      `${flags.said("next")} and ${
        flags.said("nextFromOrdinal")
      } exclude each other`,
    );
  }
  if (next !== undefined && output !== undefined) {
    throw flags.refusal(
      `${flags.said("output")} is for the tail, which has no ${
        flags.said("next")
      }`,
    );
  }
  if (service === undefined) {
    if (size === undefined) return next ?? [];
    throw flags.refusal(
      `${flags.said("size")} needs "--next-from-ordinal" beside it`,
    );
  }
  if (size === undefined) {
    throw flags.refusal(
      `${flags.said("nextFromOrdinal")} needs "--size" beside it`,
    );
  }
  try {
    const found = nextFromOrdinal(hostname, {
      service,
      size,
      port: listen.port,
    });
    return found === undefined ? [] : [found];
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw flags.refusal(`${flags.said("nextFromOrdinal")}: ${error.message}`);
  }
}

function dnsName() {
  const label = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
  const name = new RegExp(`^${label}(?:\\.${label})*\\.?$`);
  return {
    metavar: "SERVICE",
    parse: (text: string) => {
      if (text.length <= 180 && name.test(text)) return text;
      throw new RangeError(`"${text}" is not the DNS name of a service`);
    },
    format: String,
  };
}

const thisHost: ChainHost = {
  hostname: () => Deno.hostname(),
  stdoutIsTerminal: () => Deno.stdout.isTerminal(),
  envFile: ".env",
};

/** The flags of `skein send`. */

import { clusterKeyFlags, readClusterKey } from "../nodes/host/cluster_key.ts";
import {
  addressList,
  choice,
  duration,
  identifier,
  path,
} from "../nodes/host/flag_values.ts";
import {
  defaultFlag,
  type FlagTable,
  optionalFlag,
  requiredFlag,
  switchFlag,
} from "../nodes/host/flag_table.ts";
import { type Environment, parseFlags } from "../nodes/host/flags.ts";
import { LOG_LEVELS, type LogLevel } from "../nodes/host/log_level.ts";
import type { Address } from "../protocol/address.ts";

/** What `skein send` is told to do. */
export interface SendFlags {
  /** Heads of chains, first choice first; one at least. */
  readonly connect: readonly Address[];
  /** What to send; undefined: standard input. */
  readonly file: string | undefined;
  /** Give up when nothing was delivered for so long; undefined: never. */
  readonly timeoutMs: number | undefined;
  /** No progress and no summary. */
  readonly quiet: boolean;
  readonly cluster: string;
  readonly key: Uint8Array | undefined;
  readonly logLevel: LogLevel;
  /** What to log once there is a log. */
  readonly warnings: readonly string[];
}

/** What the defaults depend on; tests give their own. */
export interface SendHost {
  stdinIsTerminal(): boolean;
  readonly envFile: string;
}

/** What `skein send` is, in a sentence. */
export const SEND_ABOUT =
  "Sends messages into a chain: what one types, line by line, or a file, or standard input; ends with 0 once all are delivered.";

const TIMEOUT_MS = 60_000;

/** For the completion of the whole `skein`. */
export const sendFlagTable = {
  connect: requiredFlag({
    names: ["-c", "--connect"],
    value: addressList(),
    about: "The node to send to, then the ones to use while it is away.",
    variable: "SKEIN_CONNECT",
  }),
  file: optionalFlag({
    names: ["--file"],
    value: path("file"),
    defaultText: "standard input",
    about: "The text to send, a message a line.",
  }),
  timeout: optionalFlag({
    names: ["--timeout"],
    value: duration({ msMin: 0, msMax: 24 * 3_600_000 }),
    defaultText: "1m, on a terminal never",
    about: "Give up when nothing was delivered for so long; 0 is never.",
    variable: "SKEIN_TIMEOUT",
  }),
  quiet: switchFlag({
    names: ["-q", "--quiet"],
    about: "No progress and no summary.",
    variable: "SKEIN_QUIET",
  }),
  cluster: defaultFlag({
    names: ["--cluster"],
    value: identifier(),
    default: "skein",
    about: "The name of the cluster to send to.",
    variable: "SKEIN_CLUSTER",
  }),
  ...clusterKeyFlags,
  logLevel: defaultFlag({
    names: ["--log-level"],
    value: choice(LOG_LEVELS, "LEVEL"),
    default: "warn",
    about: "What to log to standard error: debug, info, warn or error.",
    variable: "SKEIN_LOG_LEVEL",
  }),
} as const satisfies FlagTable;

/**
 * Reads what `skein send` was started with.
 *
 * @throws {FlagsExit} For help, and for a wrong flag.
 */
export function parseSendFlags(
  args: readonly string[],
  env: Environment,
  host: SendHost = thisHost,
): SendFlags {
  const flags = parseFlags(sendFlagTable, {
    program: "skein send",
    about: SEND_ABOUT,
    examples: [
      ["skein send -c HOST:3525", "sends what you type"],
      ["skein send -c HOST:3525 --file notes.txt", "sends a file"],
      ["tail -f log | skein send -c HOST:3525 -q", "sends what comes"],
    ],
    args,
    env,
    envFile: host.envFile,
  });
  const { values } = flags;
  const interactive = values.file === undefined && host.stdinIsTerminal();
  const timeoutMs = values.timeout ?? (interactive ? 0 : TIMEOUT_MS);
  return {
    connect: values.connect,
    file: values.file,
    timeoutMs: timeoutMs === 0 ? undefined : timeoutMs,
    quiet: values.quiet,
    cluster: values.cluster,
    ...readClusterKey(flags),
    logLevel: values.logLevel,
  };
}

const thisHost: SendHost = {
  stdinIsTerminal: () => Deno.stdin.isTerminal(),
  envFile: ".env",
};

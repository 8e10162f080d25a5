/** The flags of `skein chat`. */

import { choice, duration, path } from "../nodes/host/flag_values.ts";
import {
  defaultFlag,
  type FlagTable,
  optionalFlag,
  switchFlag,
  variableOnly,
} from "../nodes/host/flag_table.ts";
import {
  type Environment,
  type FlagsExit,
  type ParsedFlags,
  parseFlags,
} from "../nodes/host/flags.ts";
import { LOG_LEVELS, type LogLevel } from "../nodes/host/log_level.ts";
import { readSmallFile } from "../nodes/host/small_file.ts";
import { type Address, formatAddress } from "../protocol/address.ts";
import { PASSWORD_BYTES_MAX, readUserName } from "../protocol/chat.ts";
import { WireError } from "../protocol/errors.ts";
import type { ChatService } from "./asked_servers.ts";
import { readWhere, type SearchSettings, whereFlags } from "./where_flags.ts";

/** What `skein chat` is told to do. */
export interface ChatFlags {
  /** Client ports of chat servers, first choice first; none: look for them. */
  readonly connect: readonly Address[];
  readonly search: SearchSettings;
  /** Undefined: the servers say. */
  readonly service: ChatService | undefined;
  /** Why there is nobody to log in at the replicated chat, which wants a password; undefined: there is. */
  readonly missingPassword: FlagsExit | undefined;
  /** Undefined: ask. */
  readonly user: string | undefined;
  /** Undefined: ask. */
  readonly password: string | undefined;
  /** Make the account first. */
  readonly register: boolean;
  /** Messages as JSON, one a line. */
  readonly json: boolean;
  /** Say nothing but messages and errors. */
  readonly quiet: boolean;
  /** Give up when nothing was acknowledged for so long; undefined: never. */
  readonly timeoutMs: number | undefined;
  readonly logLevel: LogLevel;
  /** What to log once there is a log. */
  readonly warnings: readonly string[];
}

/** What the defaults depend on; tests give their own. */
export interface ChatHost {
  stdinIsTerminal(): boolean;
  readonly envFile: string;
}

/** What `skein chat` is, in a sentence. */
export const CHAT_ABOUT =
  "Chats: sends what one types, shows what comes, and goes on at another server when one is lost; with text from a pipe it ends with 0 once all is acknowledged.";

const SERVICES = ["chat", "mesh"] as const satisfies readonly ChatService[];

const TIMEOUT_MS = 60_000;
const PASSWORD_FILE_BYTES_MAX = 65_536;

/** For the completion of the whole `skein`. */
export const chatFlagTable = {
  ...whereFlags,
  service: optionalFlag({
    names: ["--service"],
    value: choice(SERVICES),
    defaultText: "what the servers say they are",
    about:
      "Of which service the servers are: the replicated chat, with accounts, or the mesh, where a name is enough.",
    variable: "SKEIN_SERVICE",
  }),
  user: optionalFlag({
    names: ["-u", "--user"],
    value: userName(),
    defaultText: "asked for",
    about: "The name to log in as.",
    variable: "SKEIN_USER",
  }),
  passwordFile: optionalFlag({
    names: ["--password-file"],
    value: path("file"),
    defaultText: "asked for",
    about:
      "The password: the file's first line. Or the password itself in SKEIN_PASSWORD, which has no flag because others can see flags.",
    variable: "SKEIN_PASSWORD_FILE",
  }),
  passwordText: variableOnly({
    variable: "SKEIN_PASSWORD",
    // Checked with the one from a file, by errors that do not show it.
    value: { metavar: "PASSWORD", parse: (text) => text, format: () => "(…)" },
  }),
  register: switchFlag({
    names: ["--register"],
    about: "Make the account first, unless it is there already.",
  }),
  json: switchFlag({
    names: ["--json"],
    about: "Show messages as JSON objects, one a line.",
  }),
  quiet: switchFlag({
    names: ["-q", "--quiet"],
    about: "Say nothing but messages and errors.",
    variable: "SKEIN_QUIET",
  }),
  timeout: optionalFlag({
    names: ["--timeout"],
    value: duration({ msMin: 0, msMax: 24 * 3_600_000 }),
    defaultText: "1m, on a terminal never",
    about:
      "Give up when no server was found, or nothing acknowledged, for so long; 0 is never.",
    variable: "SKEIN_TIMEOUT",
  }),
  logLevel: defaultFlag({
    names: ["--log-level"],
    value: choice(LOG_LEVELS, "LEVEL"),
    default: "warn",
    about: "What to log to standard error: debug, info, warn or error.",
    variable: "SKEIN_LOG_LEVEL",
  }),
} as const satisfies FlagTable;

/**
 * Reads what `skein chat` was started with: flags, or `HOST PORT [NAME]`, which
 * is a mesh server, before them.
 *
 * @throws {FlagsExit} For help, and for a wrong flag.
 */
export function parseChatClientFlags(
  args: readonly string[],
  env: Environment,
  host: ChatHost = thisHost,
): ChatFlags {
  const flags = parseFlags(chatFlagTable, {
    program: "skein chat",
    about: CHAT_ABOUT,
    examples: [
      ["skein chat", "finds a group by itself"],
      ["skein chat -c HOST:8091", "goes to that server"],
      ["skein chat HOST 5001 ann", "goes to that mesh server, as ann"],
      ["skein chat -c A:8091,B:8092 -u ann --register", "makes the account"],
      ["echo '@bob hi' | skein chat -c HOST:8091 -u ann", "sends what comes"],
    ],
    args: withoutWords(args),
    env,
    envFile: host.envFile,
  });
  const { values } = flags;
  const { connect, search, warnings } = readWhere(flags);
  const { password, ...more } = readPassword(flags);
  const isTyped = host.stdinIsTerminal();
  if (!isTyped && values.user === undefined) {
    throw flags.refusal('"--user" is missing: nobody can be asked');
  }
  const isMissing = !isTyped && password === undefined;
  const missingPassword = isMissing
    ? flags.refusal(
      'The password is missing: set SKEIN_PASSWORD or say "--password-file"',
    )
    : undefined;
  const { service } = values;
  if (service === "chat" && missingPassword !== undefined) {
    throw missingPassword;
  }
  if (service === "mesh" && values.register) {
    throw flags.refusal(
      `${flags.said("register")}: a mesh has no accounts; a name is enough`,
    );
  }
  const timeoutMs = values.timeout ?? (isTyped ? 0 : TIMEOUT_MS);
  return {
    connect,
    search,
    service,
    missingPassword,
    user: values.user,
    password,
    register: values.register,
    json: values.json,
    quiet: values.quiet,
    timeoutMs: timeoutMs === 0 ? undefined : timeoutMs,
    logLevel: values.logLevel,
    warnings: [...warnings, ...more.warnings],
  };
}

/** `HOST PORT [NAME]` as flags; anything else stays as it is. */
function withoutWords(args: readonly string[]): readonly string[] {
  const isWord = (word: string) => word !== "" && !word.startsWith("-");
  const [host = "", port = "", name = "", ...rest] = args;
  if (!isWord(host) || !/^\d+$/.test(port)) return args;
  // An IPv6 address needs its brackets before a port.
  const bare = host.replace(/^\[(.*)\]$/, "$1");
  const address = formatAddress({ host: bare, port: Number(port) });
  const where = ["--service", "mesh", "-c", address];
  // Whoever says no name is asked for it.
  return isWord(name)
    ? [...where, "-u", name, ...rest]
    : [...where, ...args.slice(2)];
}

function readPassword(
  flags: ParsedFlags<typeof chatFlagTable>,
): { password: string | undefined; warnings: readonly string[] } {
  const { passwordFile, passwordText } = flags.values;
  // What is said on the command line counts before the environment.
  const isFile = passwordFile !== undefined &&
    (passwordText === undefined || flags.source("passwordFile") === "flag");
  if (!isFile) return { password: passwordText, warnings: [] };
  try {
    const { bytes, isReadableByAll } = readSmallFile(passwordFile, {
      bytesMax: PASSWORD_FILE_BYTES_MAX,
    });
    const [line] = new TextDecoder("utf-8", { fatal: true }).decode(bytes)
      .split(/\r?\n/);
    if (line === "" || line.length > PASSWORD_BYTES_MAX) {
      throw new RangeError(
        `The first line of "${passwordFile}" has ${line.length} characters, wanted 1 to ${PASSWORD_BYTES_MAX}`,
      );
    }
    const warning =
      `Every user of this machine can read the password in "${passwordFile}"`;
    return { password: line, warnings: isReadableByAll ? [warning] : [] };
  } catch (error) {
    if (error instanceof RangeError) throw flags.refusal(error.message);
    if (!(error instanceof TypeError)) throw error;
    throw flags.refusal(`The password in "${passwordFile}" is not UTF-8 text`);
  }
}

function userName() {
  return {
    metavar: "NAME",
    parse: (text: string) => {
      try {
        return readUserName(text);
      } catch (error) {
        if (!(error instanceof WireError)) throw error;
        throw new RangeError(error.message);
      }
    },
    format: String,
  };
}

const thisHost: ChatHost = {
  stdinIsTerminal: () => Deno.stdin.isTerminal(),
  envFile: ".env",
};

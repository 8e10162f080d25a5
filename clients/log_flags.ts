/** The flags of `skein log`. */

import {
  type FlagValue,
  path,
  wholeNumber,
} from "../nodes/host/flag_values.ts";
import {
  defaultFlag,
  type FlagTable,
  optionalFlag,
  repeatedFlag,
  switchFlag,
} from "../nodes/host/flag_table.ts";
import { type Environment, parseFlags } from "../nodes/host/flags.ts";

/** Which lines are shown; a list that is empty leaves all through. */
export interface LogFilter {
  readonly servers: readonly string[];
  readonly from: readonly string[];
  /** Without their `#`. */
  readonly rooms: readonly string[];
  readonly types: readonly string[];
  /** Since 1970; none: any. */
  readonly sinceMs: number | undefined;
  readonly untilMs: number | undefined;
  /** In the text, upper and lower case alike. */
  readonly grep: string | undefined;
}

/** What `skein log` is told to do. */
export interface LogFlags {
  readonly file: string;
  /** Lines of the end to begin with; `Infinity` for all. */
  readonly count: number;
  readonly follow: boolean;
  readonly json: boolean;
  readonly verify: boolean;
  readonly filter: LogFilter;
}

/** What servers write today; a log may have more, of another version. */
export const LOG_TYPES: readonly string[] = [
  ...["msg", "dm", "login", "logout", "rename", "join", "leave", "missed"],
  ...["peer_up", "peer_down", "topology", "drain", "start", "stop"],
];

/** What `skein log` is, in a sentence. */
export const LOG_ABOUT =
  "Shows the log that the servers of a mesh share: its end, what is added to it, what is in a room; or verifies it.";

const COUNT_DEFAULT = 50;
const COUNT_MAX = 999_999_999;

/** For the completion of the whole `skein`. */
export const logFlagTable = {
  file: defaultFlag({
    names: ["--file"],
    value: path("file"),
    default: "shared/logs/chat.log",
    variable: "SKEIN_LOG",
    about: 'The log; a word without a flag is the same: "skein log FILE".',
  }),
  lines: optionalFlag({
    names: ["-n", "--lines"],
    value: wholeNumber({ min: 0, max: COUNT_MAX }),
    defaultText: String(COUNT_DEFAULT),
    about: "How many of the last lines to show.",
  }),
  all: switchFlag({
    names: ["--all"],
    about: "Show all lines, also of the files that were rotated.",
  }),
  follow: switchFlag({
    names: ["-f", "--follow"],
    about: "Go on with what is added, until Ctrl-C.",
  }),
  server: repeatedFlag({
    names: ["--server"],
    value: words("ID"),
    about: "Only what these servers wrote: A,B or given again.",
  }),
  from: repeatedFlag({
    names: ["--from"],
    value: words("NAME"),
    about: "Only what is from these people.",
  }),
  room: repeatedFlag({
    names: ["--room"],
    value: words("ROOM"),
    about: "Only what is in these rooms.",
  }),
  type: repeatedFlag({
    names: ["--type"],
    value: words("TYPE"),
    about: `Only these: ${LOG_TYPES.join(", ")}.`,
  }),
  since: optionalFlag({
    names: ["--since"],
    value: moment(),
    about:
      "Only what is not older: a date and time, a time of today, or how long ago (10m).",
  }),
  until: optionalFlag({
    names: ["--until"],
    value: moment(),
    about: "Only what is older.",
  }),
  grep: optionalFlag({
    names: ["--grep"],
    value: anyText(),
    about: "Only lines whose text has this in it, in any case.",
  }),
  json: switchFlag({
    names: ["--json"],
    about: "The lines as they are in the file.",
  }),
  verify: switchFlag({
    names: ["--verify"],
    about:
      "Check every line, and that no number is missing or there twice; ends with 0 if all is well, else with 1.",
  }),
} as const satisfies FlagTable;

/**
 * Reads what `skein log` was started with.
 *
 * @param envFile Stands behind the environment.
 * @throws {FlagsExit} For help, and for a wrong flag.
 */
export function parseLogFlags(
  args: readonly string[],
  env: Environment,
  envFile = ".env",
): LogFlags {
  const flags = parseFlags(logFlagTable, {
    program: "skein log",
    about: LOG_ABOUT,
    examples: [
      ["skein log", "the end of shared/logs/chat.log"],
      ["skein log -f --room lobby", "a room, as it goes on"],
      ["skein log --since 10m --type peer_up,peer_down", "events of late"],
      ["skein log FILE --all --json | jq .text", "for programs"],
      ["skein log --verify", "is it whole?"],
    ],
    args: withFileFlag(args),
    env,
    envFile,
  });
  const { values, refusal, said } = flags;
  if (values.all && values.lines !== undefined) {
    throw refusal(`${said("lines")} and "--all" contradict each other`);
  }
  if (values.verify) {
    const other = ([
      "lines",
      "all",
      "follow",
      "json",
      "server",
      "from",
      "room",
      "type",
      "since",
      "until",
      "grep",
    ] as const).find((name) => flags.source(name) === "flag");
    if (other !== undefined) {
      throw refusal(`"--verify" looks at all lines, without ${said(other)}`);
    }
  }
  return {
    file: values.file,
    count: values.all ? Infinity : values.lines ?? COUNT_DEFAULT,
    follow: values.follow,
    json: values.json,
    verify: values.verify,
    filter: {
      servers: values.server,
      from: values.from,
      rooms: values.room.map((room) => room.replace(/^#/, "")),
      types: values.type,
      sinceMs: values.since,
      untilMs: values.until,
      grep: values.grep?.toLowerCase(),
    },
  };
}

/**
 * The first word that is neither a flag nor the value of one becomes
 * `--file=WORD`: a table has flags alone.
 */
function withFileFlag(args: readonly string[]): string[] {
  const flags = Object.values(logFlagTable);
  const takesValue = new Set<string>(
    flags.flatMap((flag) => "value" in flag ? flag.names : []),
  );
  const left = [...args];
  for (let at = 0; at < left.length; at++) {
    const word = left[at];
    if (word === "--") {
      return left.length === at + 2
        ? [...left.slice(0, at), `--file=${left[at + 1]}`]
        : left;
    }
    if (takesValue.has(word)) at += 1;
    else if (!word.startsWith("-")) {
      return left.with(at, `--file=${word}`);
    }
  }
  return left;
}

/** `A,B`: one or more, none of them empty. */
function words(metavar: string): FlagValue<readonly string[]> {
  return {
    metavar: `${metavar}[,…]`,
    parse: (text) => {
      const all = text.split(",").map((word) => word.trim());
      if (all.includes("")) throw new RangeError(`"${text}" has an empty word`);
      return all;
    },
    format: (all) => all.join(","),
  };
}

function anyText(): FlagValue<string> {
  return {
    metavar: "TEXT",
    parse: (text) => {
      if (text === "") throw new RangeError("It is empty, wanted a text");
      return text;
    },
    format: String,
  };
}

const MS_PER_UNIT: ReadonlyMap<string, number> = new Map([
  ["s", 1_000],
  ["m", 60_000],
  ["h", 3_600_000],
  ["d", 86_400_000],
]);

/** A date and time, a time of today, or how long ago; in ms since 1970. */
function moment(): FlagValue<number> {
  return {
    metavar: "TIME",
    parse: (text) => {
      const ago = /^(\d{1,6})([smhd])$/.exec(text);
      if (ago !== null) {
        return Date.now() - Number(ago[1]) * (MS_PER_UNIT.get(ago[2]) ?? 0);
      }
      const clock = /^(\d{1,2}):(\d{2})(?::(\d{2}))?$/.exec(text);
      if (clock !== null) {
        const [hours, minutes, seconds] = clock.slice(1)
          .map((part) => Number(part ?? 0));
        if (hours < 24 && minutes < 60 && seconds < 60) {
          return new Date().setHours(hours, minutes, seconds, 0);
        }
      }
      // A date alone would count as UTC, unlike one with a time.
      const isDate = /^\d{4}-\d\d-\d\d$/.test(text);
      const isIso = isDate || /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d/.test(text);
      const ms = isIso ? Date.parse(isDate ? `${text}T00:00` : text) : NaN;
      if (Number.isNaN(ms)) {
        throw new RangeError(
          `"${text}" is no time, wanted one such as "2026-11-21 18:30", "18:30" or "10m"`,
        );
      }
      return ms;
    },
    format: (ms) => new Date(ms).toISOString(),
  };
}

/** Flags for every role: a thin layer over Optique that adds the environment. */

import { object, or } from "@optique/core/constructs";
import { type DocPage, formatDocPage } from "@optique/core/doc";
import { type RunOptions, runParserSync } from "@optique/core/facade";
import {
  formatMessage,
  lineBreak,
  type Message,
  text,
} from "@optique/core/message";
import { multiple, optional } from "@optique/core/modifiers";
import { ensureNonEmptyString } from "@optique/core/nonempty";
import { type Parser, parseSync, type Suggestion } from "@optique/core/parser";
import {
  command,
  option,
  type OptionErrorOptions,
} from "@optique/core/primitives";
import { findSimilar } from "@optique/core/suggestion";
import type { UsageTerm } from "@optique/core/usage";
import type { ValueParser } from "@optique/core/valueparser";
import configuration from "../../deno.json" with { type: "json" };
import { readEnvironmentFile } from "./environment_file.ts";
import type { Flag, FlagTable, FlagValues } from "./flag_table.ts";
import { type FlagValue, parseSwitch } from "./flag_values.ts";
import { cutText, escapeText } from "./text.ts";

/** Skein's version, as `deno.json` has it. */
export const VERSION: string = configuration.version;

/** Where a value came from; the first of these that has it counts. */
export type FlagSource = "flag" | "environment" | "file" | "default";

/** A program, and what it was started with. */
export interface FlagsRun {
  /** As people type it: `skein-chain`, `skein send`. */
  readonly program: string;
  /** One sentence for the top of the help. */
  readonly about: string;
  /** Command lines that work, and what each does. */
  readonly examples: readonly (readonly [command: string, about: string])[];
  readonly args: readonly string[];
  readonly env: Environment;
  /** Default: `.env` in the working directory. */
  readonly envFile?: string;
}

/** Looks up a variable; `Deno.env` is one, and so is a `Map`. */
export interface Environment {
  get(name: string): string | undefined;
}

/** Values that were accepted, and how to speak of them in errors. */
export interface ParsedFlags<Table extends FlagTable> {
  readonly values: FlagValues<Table>;
  source(name: keyof Table): FlagSource;
  /** How it was said: `"--next"`, `SKEIN_NEXT`, `SKEIN_NEXT in ".env"`. */
  said(name: keyof Table): string;
  /** The file that stood behind the environment. */
  readonly envFile: string;
  /** The error to throw when values contradict each other. */
  refusal(reason: string): FlagsExit;
}

/** The program is to end now: help was asked for, or a flag is wrong. */
export class FlagsExit extends Error {
  override readonly name = "FlagsExit";
  /** 0, or 2 for a wrong flag. */
  readonly code: number;
  readonly stdout: string;
  /** Empty, or one line. */
  readonly stderr: string;

  constructor(exit: { code: number; stdout?: string; stderr?: string }) {
    super(exit.stderr ?? "Asked for help, version or completion");
    this.code = exit.code;
    this.stdout = exit.stdout ?? "";
    this.stderr = exit.stderr ?? "";
  }
}

const USAGE_EXIT_CODE = 2;
const HELP_CHARACTERS_MAX = 80;
const SHOWN_CHARACTERS_MAX = 200;

/**
 * Reads a program's flags: from the command line, else from the environment,
 * else from the `.env` file, else the default. An empty variable counts as
 * absent, and hides the one of that name in the file.
 *
 * @throws {FlagsExit} For `--help`, `--version` and `--completion`, and with
 *   one line that says what is wrong; see {@linkcode orExit}.
 */
export function parseFlags<Table extends FlagTable>(
  table: Table,
  run: FlagsRun,
): ParsedFlags<Table> {
  const given = parseArguments(table, run);
  const variables = readVariables(table, run);
  const values: Record<string, unknown> = {};
  const sources = new Map<keyof Table, FlagSource>();
  for (const [name, flag] of Object.entries(table)) {
    if (given[name] !== undefined) {
      sources.set(name, "flag");
      values[name] = given[name];
    } else {
      const variable = variables.get(flag.variable ?? "");
      sources.set(name, variable?.source ?? "default");
      values[name] = variable === undefined
        ? absentValue(flag, run)
        : variableValue(flag, { ...variable, run });
    }
  }
  const source = (name: keyof Table) => sources.get(name) ?? "default";
  return {
    // Each value was read by its own flag's parser, or is that flag's default.
    values: values as FlagValues<Table>,
    source,
    said: (name) => {
      const { names, variable = "" } = table[name];
      const from = source(name);
      return from === "environment" || from === "file" || names.length === 0
        ? variableSaid(variable, { source: from, run })
        : `"${names.at(-1)}"`;
    },
    envFile: envFileOf(run),
    refusal: (reason) => usageExit(run, reason),
  };
}

/** Ends the process when `parse` throws a {@linkcode FlagsExit}. */
export function orExit<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof FlagsExit)) throw error;
    writeWhole(Deno.stdout, error.stdout);
    writeWhole(Deno.stderr, error.stderr);
    Deno.exit(error.code);
  }
}

function writeWhole(
  file: { writeSync(bytes: Uint8Array): number },
  text: string,
): void {
  let bytes = new TextEncoder().encode(text);
  try {
    while (bytes.length > 0) bytes = bytes.subarray(file.writeSync(bytes));
  } catch (error) {
    // Whoever read it (`--help | head -1`) has seen enough.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

function usageExit(run: { program: string }, reason: string): FlagsExit {
  const stop = reason.endsWith("?") ? "" : ".";
  const line = `${run.program}: ${reason}${stop} Try "${run.program} --help"`;
  return new FlagsExit({
    code: USAGE_EXIT_CODE,
    stderr: `${escapeText(line)}\n`,
  });
}

// The command line

function parseArguments(
  table: FlagTable,
  run: FlagsRun,
): Readonly<Record<string, unknown>> {
  const program = { table, run };
  // A flag where the value of another should be. Optique goes on behind it, so
  // its own error would be about whatever comes next.
  let forgotten: string | undefined;
  const names = new Set([...namesOf(table), ...OWN_OPTIONS.keys(), "-h"]);
  const options = optionsOf(table, (input, flag) => {
    if (!names.has(input)) return false;
    forgotten ??= `"${
      flag.names.at(-1)
    }" needs a value: ${flag.value?.metavar}, found "${input}"`;
    return true;
  });
  const parser = object(options, {
    errors: { unexpectedInput: (token) => [text(unknown(token, program))] },
  });
  // The usual case, without what only help, completion and errors need.
  const parsed = parseSync(parser, run.args);
  if (parsed.success) return parsed.value;
  return runParserSync(parser, run.program, run.args, {
    ...exits({
      program: run.program,
      refuse: (reason) => usageExit(run, forgotten ?? reason),
    }),
    help: {
      option: { names: ["-h", "--help"] },
      onShow: (_code, page): never => {
        throw new FlagsExit({
          code: 0,
          stdout: helpText(page, program),
        });
      },
    },
  });
}

interface Program {
  readonly table: FlagTable;
  readonly run: FlagsRun;
}

/** A command's flags, for completion. */
export interface Command {
  readonly about: string;
  readonly table: FlagTable;
}

/**
 * Answers `PROGRAM --completion SHELL` for a program of several commands, and
 * what the script that this prints asks while somebody types.
 *
 * @throws {FlagsExit} Always: with the script, the suggestions, or an error.
 */
export function completeCommands(
  commands: Readonly<Record<string, Command>>,
  run: { readonly program: string; readonly args: readonly string[] },
): never {
  const parsers = Object.entries(commands).map(([name, { about, table }]) =>
    command(name, object(optionsOf(table, () => false)), {
      description: [text(about)],
    })
  );
  const [first, ...others] = parsers;
  const parser = others.reduce<Parser<"sync", unknown, unknown>>(
    (all, one) => or(all, one),
    first,
  );
  const refuse = (reason: string) => usageExit(run, reason);
  runParserSync(parser, run.program, run.args, exits({ ...run, refuse }));
  throw refuse(`Found a command where "--completion" was expected`);
}

/** What Optique does at each end of a program but help. */
function exits(ends: {
  program: string;
  refuse: (reason: string) => FlagsExit;
}): RunOptions<never, never> {
  let output = "";
  const onShow = (): never => {
    // zsh takes its suggestions with a NUL behind each, the others by line.
    const end = /[\n\0]$/.test(output) ? "" : "\n";
    throw new FlagsExit({ code: 0, stdout: `${output}${end}` });
  };
  const [binary, ...subcommand] = ends.program.split(" ");
  return {
    colors: false,
    aboveError: "none",
    version: { option: true, value: `${binary} ${VERSION}`, onShow },
    // A shell completes whole programs: see `completeCommands`.
    ...subcommand.length === 0 ? { completion: { option: true, onShow } } : {},
    stdout: (chunk) => {
      output += chunk;
    },
    stderr: () => {},
    onError: (_code, error) => {
      throw ends.refuse(plainText(error).replace(/\.$/, ""));
    },
  };
}

function namesOf(table: FlagTable): ReadonlySet<string> {
  return new Set(Object.values(table).flatMap((flag) => flag.names));
}

/** Whether a flag's value is the name of a flag: then it was forgotten. */
type IsForgotten = (input: string, flag: Flag<unknown>) => boolean;

type OptionParser = Parser<"sync", unknown, unknown>;

function optionsOf(
  table: FlagTable,
  isForgotten: IsForgotten,
): Record<string, OptionParser> {
  const options: Record<string, OptionParser> = {};
  for (const [name, flag] of Object.entries(table)) {
    if (flag.names.length > 0) options[name] = optionOf(flag, isForgotten);
  }
  return options;
}

function optionOf(
  flag: Flag<unknown>,
  isForgotten: IsForgotten,
): OptionParser {
  const called = `"${flag.names.at(-1)}"`;
  const [first, ...others] = flag.names;
  const description = [text(describe(flag))];
  const errors: OptionErrorOptions = {
    duplicate: [text(`${called} is given twice`)],
    endOfInput: [text(`${called} needs a value: ${flag.value?.metavar}`)],
    invalidValue: (error) => [text(`${called}: `), ...error],
    unexpectedValue: (value) => [
      text(`${called} takes no value, found "${shown(value)}"`),
    ],
  };
  if (flag.value === undefined) {
    return optional(option(first, ...others, { description, errors }))
      .map((value) => value === true ? true : undefined);
  }
  const value = valueParserOf(flag.value, (input) => isForgotten(input, flag));
  if (flag.isRepeated) {
    const one = option(first, ...others, value, { description, errors });
    return multiple(one).map((all) => all.length > 0 ? all.flat() : undefined);
  }
  return optional(option(first, ...others, value, { description, errors }));
}

function valueParserOf(
  value: FlagValue<unknown>,
  isForgotten: (input: string) => boolean,
): ValueParser<"sync", unknown> {
  const { metavar, choices, completes } = value;
  ensureNonEmptyString(metavar);
  return {
    mode: "sync",
    metavar,
    placeholder: undefined,
    parse: (input) => {
      if (isForgotten(input)) {
        return { success: false, error: [text(`needs a value: ${metavar}`)] };
      }
      try {
        return { success: true, value: value.parse(input) };
      } catch (error) {
        return { success: false, error: [text(rangeReason(error))] };
      }
    },
    format: (parsed) => value.format(parsed),
    *suggest(prefix): Iterable<Suggestion> {
      if (completes !== undefined) {
        yield { kind: "file", type: completes, prefix: "" };
      }
      for (const choice of choices ?? []) {
        if (choice.startsWith(prefix)) yield { kind: "literal", text: choice };
      }
    },
  };
}

/** What a value parser has to say; anything but a RangeError is our mistake. */
function rangeReason(error: unknown): string {
  if (!(error instanceof RangeError)) throw error;
  return cutText(error.message, SHOWN_CHARACTERS_MAX);
}

function unknown(token: string, program: Program): string {
  const { table } = program;
  const [binary, subcommand] = program.run.program.split(" ");
  if (token === "--completion" && subcommand !== undefined) {
    return `"${token}" stands before the command: "${binary} ${token} SHELL"`;
  }
  if (!token.startsWith("-") || token === "-") {
    return `Unexpected "${shown(token)}": it follows no flag`;
  }
  const short = /^(-[A-Za-z])=?([^=-].*)$/.exec(token);
  for (const flag of Object.values(table)) {
    const glued = flag.names.some((name) => name === short?.[1]);
    if (short !== null && glued && flag.value !== undefined) {
      const [, name, value] = short;
      return `"${shown(token)}" is no option; did you mean "${name} ${
        shown(value)
      }"?`;
    }
  }
  const name = token.split("=")[0];
  const similar = similarName(name, table);
  return similar === undefined
    ? `"${shown(name)}" is no option`
    : `"${shown(name)}" is no option; did you mean "${similar}"?`;
}

/** The one flag that begins like `name`, else the one that is nearly it. */
function similarName(name: string, table: FlagTable): string | undefined {
  const known = [...namesOf(table), ...OWN_OPTIONS.keys()];
  const beginning = known.filter((one) => one.startsWith(name));
  if (name.length >= 4 && beginning.length === 1) return beginning[0];
  return findSimilar(name, known, { maxDistance: 3, maxDistanceRatio: 0.34 })
    .at(0);
}

function shown(text: string): string {
  return cutText(text, SHOWN_CHARACTERS_MAX);
}

function plainText(message: Message): string {
  return message.map((term) =>
    term.type === "text"
      ? term.text
      : formatMessage([term], { colors: false, quotes: true })
  ).join("");
}

// The environment

function envFileOf(run: FlagsRun): string {
  return run.envFile ?? ".env";
}

interface Variable {
  readonly name: string;
  readonly text: string;
  readonly source: "environment" | "file";
}

function readVariables(
  table: FlagTable,
  run: FlagsRun,
): ReadonlyMap<string, Variable> {
  const names = new Set<string>();
  for (const { variable } of Object.values(table)) {
    if (variable !== undefined) names.add(variable);
  }
  const inFile = readFile(names, run);
  const variables = new Map<string, Variable>();
  for (const name of names) {
    const inEnvironment = run.env.get(name);
    const text = inEnvironment ?? inFile.get(name) ?? "";
    const source = inEnvironment === undefined ? "file" : "environment";
    if (text !== "") variables.set(name, { name, text, source });
  }
  return variables;
}

function readFile(
  names: ReadonlySet<string>,
  run: FlagsRun,
): ReadonlyMap<string, string> {
  try {
    return readEnvironmentFile(envFileOf(run), names);
  } catch (error) {
    throw usageExit(run, rangeReason(error));
  }
}

function variableValue(
  flag: Flag<unknown>,
  variable: Variable & { run: FlagsRun },
): unknown {
  try {
    return flag.value === undefined
      ? parseSwitch(variable.text)
      : flag.value.parse(variable.text);
  } catch (error) {
    const said = variableSaid(variable.name, variable);
    throw usageExit(variable.run, `${said}: ${rangeReason(error)}`);
  }
}

function variableSaid(
  name: string,
  from: { source: FlagSource; run: FlagsRun },
): string {
  return from.source === "file" ? `${name} in "${envFileOf(from.run)}"` : name;
}

function absentValue(flag: Flag<unknown>, run: FlagsRun): unknown {
  if (flag.absent !== undefined) return flag.absent.value;
  const also = flag.variable === undefined ? "" : `, or set ${flag.variable}`;
  throw usageExit(
    run,
    `"${flag.names.at(-1)}" is missing: say ${flag.names[0]} ${
      flag.value?.metavar ?? ""
    }${also}`,
  );
}

// Help

function describe(flag: Flag<unknown>): string {
  const notes: string[] = [];
  if (flag.absent === undefined) notes.push("required");
  else if (flag.absent.text !== "") notes.push(`default: ${flag.absent.text}`);
  if (flag.variable !== undefined) notes.push(`env: ${flag.variable}`);
  return notes.length === 0
    ? flag.about
    : `${flag.about} [${notes.join("; ")}]`;
}

function helpText(
  page: DocPage,
  program: Program,
): string {
  const { table, run } = program;
  const usage: UsageTerm[] = [];
  for (const { names, value, absent } of Object.values(table)) {
    if (absent === undefined) {
      usage.push({ type: "literal", value: `${names[0]} ${value?.metavar}` });
    }
  }
  usage.push({ type: "literal", value: "[OPTION…]" });
  const width = Math.max(...run.examples.map(([command]) => command.length));
  const examples = run.examples.flatMap(([command, about]) => [
    text(`${command.padEnd(width)}  ${about}`),
    lineBreak(),
  ]);
  const sections = page.sections.map((section) => ({
    ...section,
    entries: section.entries.flatMap((entry) => {
      if (entry.term.type !== "option") return [];
      const about = OWN_OPTIONS.get(entry.term.names.at(-1) ?? "");
      return about === undefined
        ? [entry]
        : [{ ...entry, description: [text(about)] }];
    }),
  }));
  const help = formatDocPage(run.program, {
    brief: [text(run.about)],
    usage,
    sections,
    examples: examples.slice(0, -1),
    footer: [text(FOOTER)],
  }, { colors: false, maxWidth: HELP_CHARACTERS_MAX, termWidth: "auto" });
  return `${help.replace(/[ ]+$/gm, "")}\n`;
}

const OWN_OPTIONS: ReadonlyMap<string, string> = new Map([
  ["--help", "Show this and exit."],
  ["--version", "Show the version and exit."],
  [
    "--completion",
    "Show a completion script (bash, zsh, fish, pwsh) and exit.",
  ],
]);

const FOOTER =
  "A flag counts before its environment variable, that before a line for the variable in the file .env of the working directory, that before the default.";

/** Names by other names: `{ port: "p" }` lets `-p` stand for `--port`. */
export type Aliases = Record<string, string | readonly string[]>;

/** Which flags there are, and of what type. */
export interface ParseOptions<
  TBooleans extends string = string,
  TStrings extends string = string,
  TCollectable extends string = string,
  TDefault extends Record<string, unknown> = Record<string, unknown>,
  TAliases extends Aliases = Aliases,
  TDoubleDash extends boolean | undefined = boolean | undefined,
> {
  /** Whether what follows `--` goes to the field `--`, not to the end of `_`. */
  "--"?: TDoubleDash;
  /** Other names; whichever is given, all of them are set. */
  alias?: TAliases;
  /** Flags without a value; false where not given. */
  boolean?: TBooleans | ReadonlyArray<TBooleans>;
  /** Flags whose values are kept in a list; of others the last one counts. */
  collect?: TCollectable | ReadonlyArray<TCollectable>;
  /** Values of flags that are not given. */
  default?: TDefault;
  /**
   * Flags whose value is a text even if it looks like a number: `""` where
   * given without one. `_` keeps the arguments that are no flags from numbers.
   */
  string?: TStrings | ReadonlyArray<TStrings>;
  /**
   * Called with each argument that is no declared flag, and for a flag with its
   * name and value too; the argument is left out if it answers false.
   */
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}

/** The flags declared and their types; a value that is undefined was not given. */
type Declared<B extends string, S extends string, C extends string> =
  & { [K in Exclude<S, C>]?: string }
  & { [K in Extract<S, C>]: string[] }
  & { [K in Exclude<B, C>]: boolean }
  & { [K in Extract<B, C>]: boolean[] }
  & { [K in Exclude<C, B | S>]: unknown[] };

type WithDefaults<V, D> =
  & Omit<V, keyof D>
  & { [K in keyof D]: K extends keyof V ? D[K] | NonNullable<V[K]> : unknown };

type WithAliases<V, A> = {
  [
    K in keyof V as
      | K
      | (K extends keyof A ? A[K] extends string ? A[K]
        : A[K] extends readonly string[] ? A[K][number]
        : never
        : never)
  ]: V[K];
};

/** What {@linkcode parseArgs} returns. */
export type Args<
  TArgs extends Record<string, unknown> = Record<string, unknown>,
  TDoubleDash extends boolean | undefined = undefined,
> =
  & TArgs
  & {
    /** The arguments that are no flags; what looks like a number is one. */
    _: Array<string | number>;
  }
  & (TDoubleDash extends true ? {
      /** What follows `--`. */
      "--": string[];
    }
    : unknown);

/** What {@linkcode ParseOptions} say, looked up by a flag's name. */
interface Rules {
  readonly alias: ReadonlyMap<string, readonly string[]>;
  readonly boolean: ReadonlySet<string>;
  readonly string: ReadonlySet<string>;
  readonly collect: ReadonlySet<string>;
  readonly unknown: (arg: string, key?: string, value?: unknown) => unknown;
}

/** A flag as it is written, the argument it is in, and the argument after that. */
interface Flag {
  readonly name: string;
  readonly arg: string;
  readonly next: string | undefined;
}

type Value = string | number | boolean;

/**
 * Reads command-line arguments: `--name value`, `--name=value`, `--name`,
 * `-n value`, `-n=value`, `-n5`, and `-abc` for `-a -b -c`.
 *
 * A flag that is not declared takes the next argument as its value unless that
 * starts with `-`; a declared boolean takes only `true` or `false`. A value that
 * looks like a number is one, unless the flag is declared as a string. Nothing is
 * refused: see the option `unknown`.
 *
 * Left out of the real one: `boolean: true`, `negatable`, `stopEarly`, and the
 * nesting of names with dots, which are names like any other here. `parseArgs` of
 * `node:util` is not underneath: it gives an undeclared flag no value and lets
 * `--name` take `--other` for one.
 *
 * @param args As in `Deno.args`; kept as it is.
 * @returns The values by name, and the rest in `_`.
 */
export function parseArgs<
  TBooleans extends string = never,
  TStrings extends string = never,
  TCollectable extends string = never,
  TDefault extends Record<string, unknown> = Record<never, never>,
  const TAliases extends Aliases = Record<never, never>,
  TDoubleDash extends boolean | undefined = undefined,
>(
  args: string[],
  options?: ParseOptions<
    TBooleans,
    TStrings,
    TCollectable,
    TDefault,
    TAliases,
    TDoubleDash
  >,
): Args<
  & Record<string, unknown>
  & WithAliases<
    WithDefaults<Declared<TBooleans, TStrings, TCollectable>, TDefault>,
    TAliases
  >,
  TDoubleDash
>;
export function parseArgs(
  args: string[],
  options: ParseOptions = {},
): Args {
  const rules = rulesOf(options);
  const end = args.includes("--") ? args.indexOf("--") : args.length;
  const values: Args = { _: [] };
  for (let at = 0; at < end; at += 1) {
    const arg = args[at];
    const next = at + 1 < end ? args[at + 1] : undefined;
    if (arg.startsWith("-") && arg.length > 1) {
      const read = arg.startsWith("--") ? readLong : readShort;
      if (read(values, rules, { arg, next }) === "with-next") at += 1;
    } else if (rules.unknown(arg) !== false) {
      values._.push(rules.string.has("_") ? arg : numberOr(arg));
    }
  }
  fill(values, rules, options.default ?? {});
  const rest = args.slice(end + 1);
  if (options["--"]) return Object.assign(values, { "--": rest });
  values._.push(...rest);
  return values;
}

/** Reads `--name=value`, or `--name` and perhaps the argument after it. */
function readLong(
  values: Args,
  rules: Rules,
  { arg, next }: Omit<Flag, "name">,
): "alone" | "with-next" {
  const name = arg.slice(2);
  const equals = name.indexOf("=", 1);
  if (equals !== -1 && equals < name.length - 1) {
    const value = name.slice(equals + 1);
    // The real one does so, though it keeps the "no-" where no value is given.
    const key = name.slice(0, equals).replace(/^no-(?=.)/, "");
    const isBoolean = rules.boolean.has(key);
    set(values, rules, {
      flag: { name: key, arg, next },
      value: isBoolean ? value !== "false" : value,
    });
    return "alone";
  }
  return readNext(values, rules, { name, arg, next });
}

/** Reads `-abc`, `-n5`, `-n=value`, or `-n` and perhaps the argument after it. */
function readShort(
  values: Args,
  rules: Rules,
  { arg, next }: Omit<Flag, "name">,
): "alone" | "with-next" {
  for (let at = 1; at < arg.length - 1; at += 1) {
    const flag = { name: arg[at], arg, next };
    const rest = arg.slice(at + 1);
    const value = attached(flag.name, rest);
    set(values, rules, { flag, value: value ?? bare(rules, flag.name) });
    if (value !== undefined && rest !== "-") return "alone";
  }
  const name = arg.slice(-1);
  if (name === "-") return "alone";
  return readNext(values, rules, { name, arg, next });
}

/** The value that follows a letter within its argument, if one does. */
function attached(letter: string, rest: string): string | undefined {
  if (rest === "-") return rest;
  if (/[A-Za-z]/.test(letter)) {
    const equals = rest.indexOf("=");
    if (equals !== -1 && equals < rest.length - 1) {
      return rest.slice(equals + 1);
    }
    if (/\d\.?$/.test(rest)) return rest;
  }
  return rest.length > 1 && /^\W/.test(rest) ? rest : undefined;
}

/** Sets a flag to the argument after it, if that can be its value. */
function readNext(
  values: Args,
  rules: Rules,
  flag: Flag,
): "alone" | "with-next" {
  const { name, arg, next } = flag;
  // A letter takes "-", the standard input, which a name does not.
  const isFlag = (arg.startsWith("--") ? /^-/ : /^--?[^-]/).test(next ?? "");
  if (next && !isFlag && !rules.boolean.has(name)) {
    set(values, rules, { flag, value: next });
    return "with-next";
  }
  if (next === "true" || next === "false") {
    set(values, rules, { flag, value: next === "true" });
    return "with-next";
  }
  set(values, rules, { flag, value: bare(rules, name) });
  return "alone";
}

/** What a flag is given without a value. */
function bare(rules: Rules, name: string): Value {
  return rules.string.has(name) ? "" : true;
}

/** Sets a flag under all its names, or adds to its list. */
function set(
  values: Args,
  rules: Rules,
  { flag, value }: { flag: Flag; value: Value },
): void {
  const { name, arg } = flag;
  const isDeclared = rules.boolean.has(name) || rules.string.has(name) ||
    rules.alias.has(name);
  if (!isDeclared && rules.unknown(arg, name, value) === false) return;
  const isText = typeof value !== "string" || rules.string.has(name);
  const read = isText ? value : numberOr(value);
  for (const key of [name, ...rules.alias.get(name) ?? []]) {
    const known = values[key];
    values[key] = !rules.collect.has(name)
      ? read
      : Array.isArray(known)
      ? [...known, read]
      : [read];
  }
}

/** Sets what was not given: defaults first, then what a type is without one. */
function fill(
  values: Args,
  rules: Rules,
  defaults: Record<string, unknown>,
): void {
  for (const [name, value] of Object.entries(defaults)) {
    if (Object.hasOwn(values, name)) continue;
    for (const key of [name, ...rules.alias.get(name) ?? []]) {
      values[key] = value;
    }
  }
  for (const name of [...rules.boolean, ...rules.string]) {
    if (Object.hasOwn(values, name)) continue;
    if (rules.collect.has(name)) values[name] = [];
    else if (rules.boolean.has(name)) values[name] = false;
  }
}

/** Gives each name's rules to its other names too. */
function rulesOf(options: ParseOptions): Rules {
  const alias = new Map<string, readonly string[]>();
  for (const [name, others] of Object.entries(options.alias ?? {})) {
    const names = [name, ...[others].flat()];
    for (const one of names) {
      alias.set(one, names.filter((other) => other !== one));
    }
  }
  const namesOf = (names: string | readonly string[] = []) =>
    new Set(
      [names].flat().flatMap((name) => [name, ...alias.get(name) ?? []]),
    );
  return {
    alias,
    boolean: namesOf(options.boolean),
    string: namesOf(options.string),
    collect: namesOf(options.collect),
    unknown: options.unknown ?? (() => true),
  };
}

function numberOr(text: string): string | number {
  return /\S/.test(text) && Number.isFinite(Number(text)) ? Number(text) : text;
}

/** A program's flags as a table: what each is called, takes and means. */

import type { OptionName } from "@optique/core/usage";
import type { FlagValue } from "./flag_values.ts";

/** How a flag is called and what it means. */
export interface FlagText {
  /** Short name first, long name last; none for what only a variable sets. */
  readonly names: readonly OptionName[];
  /** For help: a sentence or two. */
  readonly about: string;
  /** The environment variable to fall back to. */
  readonly variable?: string;
}

/** One flag; made by the functions below. */
export interface Flag<T> extends FlagText {
  /** How its value is read; a switch takes none. */
  readonly value?: FlagValue<T>;
  /** What holds when nobody says anything; `undefined`: it must be said. */
  readonly absent?: { readonly value: T; readonly text: string };
  /** It may be given more than once, and its value is a list: all of them. */
  readonly isRepeated?: true;
}

interface ValueText<T> extends FlagText {
  readonly value: FlagValue<T>;
}

/** A flag that must be given, on the command line or in the environment. */
export function requiredFlag<T>(flag: ValueText<T>): Flag<T> {
  return flag;
}

/** A flag that may be left out; `defaultText` says in help what holds then. */
export function optionalFlag<T>(
  flag: ValueText<T> & { readonly defaultText?: string },
): Flag<T | undefined> {
  return {
    ...flag,
    absent: { value: undefined, text: flag.defaultText ?? "" },
  };
}

/** A flag with a default, which help shows. */
export function defaultFlag<T>(
  flag: ValueText<T> & { readonly default: NoInfer<T> },
): Flag<T> {
  const defaultText = flag.value.format(flag.default);
  return { ...flag, absent: { value: flag.default, text: defaultText } };
}

/** A flag without a value; in a variable `1` and `0`. */
export function switchFlag(flag: FlagText): Flag<boolean> {
  return { ...flag, absent: { value: false, text: "" } };
}

/** A flag of a list that may be given more than once; its lists are joined in order. */
export function repeatedFlag<T>(
  flag: ValueText<readonly T[]>,
): Flag<readonly T[]> {
  return { ...flag, isRepeated: true, absent: { value: [], text: "" } };
}

/** A value that only a variable can set: flags are seen by `ps`. */
export function variableOnly(
  flag: { readonly variable: string; readonly value: FlagValue<string> },
): Flag<string | undefined> {
  return optionalFlag({ ...flag, names: [], about: "" });
}

/** All flags of a program, by the name of their value. */
export type FlagTable = Readonly<Record<string, Flag<unknown>>>;

/** What a table's flags hold. */
export type FlagValues<Table extends FlagTable> = {
  readonly [Name in keyof Table]: Table[Name] extends Flag<infer T> ? T : never;
};

/** What flags take as values: addresses, sizes, times, names, files. */

import {
  type Address,
  formatAddress,
  parseAddress,
} from "../../protocol/address.ts";
import { isName, type NodeId } from "../../protocol/ids.ts";

/** How the text behind a flag, or in a variable, becomes a value. */
export interface FlagValue<T> {
  /** What help shows in its place. */
  readonly metavar: string;
  /** @throws {RangeError} Says what was found and what was wanted. */
  parse(text: string): T;
  /** How help shows a default. */
  format(value: T): string;
  /** All there are, for shell completion. */
  readonly choices?: readonly string[];
  /** What shell completion offers instead. */
  readonly completes?: "file" | "directory";
}

const ADDRESS_COUNT_MAX = 8;

/** Where the default of a host and the lowest port of an address are set. */
export interface AddressOptions {
  /** The host of a bare port; without it a host is required. */
  readonly defaultHost?: string;
  /** 0 for an address to listen at, 1 for one to dial. */
  readonly portMin: 0 | 1;
}

/** `[HOST:]PORT`, or `HOST:PORT` without a default host. */
export function address(options: AddressOptions): FlagValue<Address> {
  return {
    metavar: options.defaultHost === undefined ? "HOST:PORT" : "[HOST:]PORT",
    parse: (text) => {
      const address = parseAddress(text, options.defaultHost);
      if (address.port < options.portMin) {
        throw new RangeError(
          `Port ${address.port} in "${text}" cannot be dialled, wanted 1 to 65535`,
        );
      }
      return address;
    },
    format: formatAddress,
  };
}

/** `HOST:PORT[,HOST:PORT…]`: 1 to 8 to dial, in order of preference. */
export function addressList(): FlagValue<readonly Address[]> {
  const one = address({ portMin: 1 });
  return {
    metavar: "HOST:PORT[,…]",
    parse: (text) => {
      const addresses = text.split(",").map((part) => one.parse(part.trim()));
      if (addresses.length > ADDRESS_COUNT_MAX) {
        throw new RangeError(
          `Found ${addresses.length} addresses, limit is ${ADDRESS_COUNT_MAX}`,
        );
      }
      const seen = new Set<string>();
      for (const name of addresses.map(formatAddress)) {
        if (seen.has(name.toLowerCase())) {
          throw new RangeError(`"${name}" is there twice`);
        }
        seen.add(name.toLowerCase());
      }
      return addresses;
    },
    format: (addresses) => addresses.map(formatAddress).join(","),
  };
}

/** A node's name, and where it is reached. */
export interface NamedAddress {
  readonly id: NodeId;
  readonly address: Address;
}

/**
 * `ID=HOST:PORT[,ID=HOST:PORT…]`, to dial.
 *
 * @param example One that an error shows.
 */
export function namedAddresses(
  example: string,
): FlagValue<readonly NamedAddress[]> {
  return {
    metavar: "ID=HOST:PORT",
    parse: (text) =>
      text.split(",").map((part) => {
        const equals = part.indexOf("=");
        const id = part.slice(0, Math.max(equals, 0)).trim();
        if (!isName(id)) {
          throw new RangeError(
            `"${part}" is no node, wanted one such as "${example}"`,
          );
        }
        const address = parseAddress(part.slice(equals + 1).trim());
        if (address.port === 0) {
          throw new RangeError(
            `Port 0 in "${part}" cannot be dialled, wanted 1 to 65535`,
          );
        }
        return { id, address };
      }),
    format: (nodes) =>
      nodes.map(({ id, address }) => `${id}=${formatAddress(address)}`)
        .join(","),
  };
}

const BYTES_PER_UNIT: ReadonlyMap<string, number> = new Map([
  ["GiB", 1024 ** 3],
  ["GB", 1e9],
  ["MiB", 1024 ** 2],
  ["MB", 1e6],
  ["KiB", 1024],
  ["kB", 1e3],
  ["KB", 1e3],
  ["B", 1],
]);

/** A number of bytes: `16MiB`, `64KiB`, `1MB`, `65536`. */
export function byteSize(
  bounds: { bytesMin: number; bytesMax: number },
): FlagValue<number> {
  return {
    metavar: "SIZE",
    parse: (text) => {
      const match = /^(\d{1,15})\s?([A-Za-z]*)$/.exec(text);
      const unit = BYTES_PER_UNIT.get(match?.[2] || "B");
      if (match === null || unit === undefined) {
        throw new RangeError(
          `"${text}" is not a size, wanted one such as "64KiB" or "16MiB"`,
        );
      }
      const bytes = Number(match[1]) * unit;
      refuseOutside({ text, value: bytes, format: formatSize }, {
        min: bounds.bytesMin,
        max: bounds.bytesMax,
      });
      return bytes;
    },
    format: formatSize,
  };
}

const MS_PER_UNIT: ReadonlyMap<string, number> = new Map([
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1_000],
  ["ms", 1],
]);

/** A time: `500ms`, `3s`, `1.5s`, `2m`, `1h`; in whole milliseconds. */
export function duration(
  bounds: { msMin: number; msMax: number },
): FlagValue<number> {
  return {
    metavar: "TIME",
    parse: (text) => {
      const match = /^(\d{1,9}(?:\.\d{1,3})?)\s?([a-z]+)$/.exec(
        text === "0" ? "0s" : text,
      );
      const unit = MS_PER_UNIT.get(match?.[2] ?? "");
      if (match === null || unit === undefined) {
        throw new RangeError(
          `"${text}" is not a time, wanted one such as "500ms", "3s" or "2m"`,
        );
      }
      // Rounded first: 0.1 s is 100 ms, whatever binary fractions say.
      const ms = Math.round(Number(match[1]) * unit * 1000) / 1000;
      if (!Number.isInteger(ms)) {
        throw new RangeError(`"${text}" is not in whole milliseconds`);
      }
      refuseOutside({ text, value: ms, format: formatDuration }, {
        min: bounds.msMin,
        max: bounds.msMax,
      });
      return ms;
    },
    format: formatDuration,
  };
}

/** A whole number without a unit. */
export function wholeNumber(
  bounds: { min: number; max: number },
): FlagValue<number> {
  return {
    metavar: "N",
    parse: (text) => {
      if (/^-\d{1,9}$/.test(text)) {
        const value = -Infinity;
        refuseOutside({ text, value, format: String }, bounds);
      }
      if (!/^\d{1,9}$/.test(text)) {
        throw new RangeError(
          `"${text}" is not a whole number, wanted ${bounds.min} to ${bounds.max}`,
        );
      }
      const value = Number(text);
      refuseOutside({ text, value, format: String }, bounds);
      return value;
    },
    format: String,
  };
}

/** One of a few words; help shows them all, or `metavar` in their place. */
export function choice<const T extends string>(
  choices: readonly T[],
  metavar: string = choices.join("|"),
): FlagValue<T> {
  return {
    metavar,
    parse: (text) => {
      const found = choices.find((one) => one === text);
      if (found === undefined) {
        throw new RangeError(
          `"${text}" is none of ${choices.map((one) => `"${one}"`).join(", ")}`,
        );
      }
      return found;
    },
    format: String,
    choices,
  };
}

/** The name of a node or cluster: 1 to 64 of `A-Z a-z 0-9 . _ : -`. */
export function identifier(): FlagValue<string> {
  return {
    metavar: "NAME",
    parse: (text) => {
      if (!/^[A-Za-z0-9._:-]{1,64}$/.test(text)) {
        throw new RangeError(
          `"${text}" is not a name, wanted 1 to 64 of A-Z, a-z, 0-9, ".", "_", ":" and "-"`,
        );
      }
      return text;
    },
    format: String,
  };
}

/** A path; whether it can be used shows when it is. */
export function path(kind: "file" | "directory"): FlagValue<string> {
  return {
    metavar: kind === "file" ? "FILE" : "DIR",
    parse: (text) => {
      if (text === "" || text.includes("\0")) {
        throw new RangeError(`"${text}" is not a path`);
      }
      return text;
    },
    format: String,
    completes: kind,
  };
}

/** `on` or `off` in a variable, for a flag that takes no value. */
export function parseSwitch(text: string): boolean {
  if (/^(?:1|true|yes|on)$/i.test(text)) return true;
  if (/^(?:0|false|no|off)$/i.test(text)) return false;
  throw new RangeError(`"${text}" is neither "1" nor "0"`);
}

function refuseOutside(
  found: { text: string; value: number; format: (value: number) => string },
  bounds: { min: number; max: number },
): void {
  if (found.value >= bounds.min && found.value <= bounds.max) return;
  throw new RangeError(
    `"${found.text}" is out of range, wanted ${found.format(bounds.min)} to ${
      found.format(bounds.max)
    }`,
  );
}

function formatSize(bytes: number): string {
  for (const [unit, factor] of BYTES_PER_UNIT) {
    if (bytes >= factor && bytes % factor === 0 && !/^.B$/.test(unit)) {
      return `${bytes / factor}${unit}`;
    }
  }
  return `${bytes}B`;
}

function formatDuration(ms: number): string {
  for (const [unit, factor] of MS_PER_UNIT) {
    if (ms >= factor && ms % factor === 0) return `${ms / factor}${unit}`;
  }
  return `${ms}ms`;
}

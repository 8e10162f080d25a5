/** The flag `--discover`: where to look for others. */

import type { Address } from "../../../protocol/address.ts";
import {
  DISCOVERY_GROUP,
  DISCOVERY_PORT,
} from "../../../protocol/discovery.ts";
import { optionalFlag } from "../flag_table.ts";
import type { FlagValue } from "../flag_values.ts";
import type { DiscoverWhere } from "./finder.ts";

/** What the flag says; the addresses of `static` come from other flags. */
export type DiscoverChoice =
  | { readonly kind: "static" }
  | Exclude<DiscoverWhere, { kind: "static" }>;

/** What holds where nothing is configured. */
export const DISCOVER_UDP = {
  kind: "udp",
  group: DISCOVERY_GROUP,
  port: DISCOVERY_PORT,
} as const satisfies DiscoverChoice;

/** What a program knows that has the flag. */
export interface DiscoverFlagOptions {
  /** Where a name's addresses are asked, unless the flag or its SRV records say another port. */
  readonly dnsPort: number;
  /** What help says of its absence. */
  readonly defaultText: string;
}

/** The part of a program's flags that says where to look. */
export function discoverFlags(options: DiscoverFlagOptions) {
  return {
    discover: optionalFlag({
      names: ["--discover"],
      value: discoverChoice(options),
      about:
        "Where to look for others: at the addresses that are configured, at those behind a name (its SRV records _skein._tcp.NAME, else A and AAAA), or by UDP on the networks that this machine is in.",
      variable: "SKEIN_DISCOVER",
      defaultText: options.defaultText,
    }),
  };
}

/** `static`, `dns:NAME[:PORT]` or `udp[:GROUP[:PORT]]`. */
export function discoverChoice(
  { dnsPort }: Pick<DiscoverFlagOptions, "dnsPort">,
): FlagValue<DiscoverChoice> {
  return {
    metavar: "static|dns:NAME[:PORT]|udp[:GROUP[:PORT]]",
    parse: (text) => {
      const [kind, first, second, ...more] = text.split(":");
      if (more.length === 0) {
        if (kind === "static" && first === undefined) return { kind };
        if (kind === "dns" && first !== undefined) {
          return {
            kind,
            name: parseName(first, text),
            port: second === undefined ? dnsPort : parsePort(second, text),
          };
        }
        if (kind === "udp") {
          return {
            kind,
            group: first === undefined
              ? DISCOVERY_GROUP
              : parseGroup(first, text),
            port: second === undefined
              ? DISCOVERY_PORT
              : parsePort(second, text),
          };
        }
      }
      throw new RangeError(
        `"${text}" is no way to look for others, wanted "static", "dns:NAME[:PORT]" or "udp[:GROUP[:PORT]]"`,
      );
    },
    format: formatChoice,
  };
}

/** As the flag says it, without what goes without saying. */
export function formatChoice(choice: DiscoverChoice | DiscoverWhere): string {
  switch (choice.kind) {
    case "static":
      return "static";
    case "dns":
      return `dns:${choice.name}:${choice.port}`;
    case "udp": {
      const { group, port } = choice;
      if (port !== DISCOVERY_PORT) return `udp:${group}:${port}`;
      return group === DISCOVERY_GROUP ? "udp" : `udp:${group}`;
    }
  }
}

/** Where a finder is to ask, with the addresses that `static` stands for. */
export function discoverWhere(
  choice: DiscoverChoice,
  addresses: readonly Address[],
): DiscoverWhere {
  return choice.kind === "static" ? { kind: "static", addresses } : choice;
}

function parseName(name: string, text: string): string {
  if (/^[A-Za-z0-9._-]{1,253}$/.test(name)) return name;
  throw new RangeError(`"${name}" in "${text}" is no host name`);
}

function parseGroup(group: string, text: string): string {
  const bytes = /^\d{1,3}(?:\.\d{1,3}){3}$/.test(group)
    ? group.split(".").map(Number)
    : [];
  const isMulticast = bytes[0] >= 224 && bytes[0] <= 239 &&
    bytes.every((byte) => byte <= 255);
  if (isMulticast) return bytes.join(".");
  throw new RangeError(
    `"${group}" in "${text}" is no multicast group, wanted one from 224.0.0.0 to 239.255.255.255, such as "${DISCOVERY_GROUP}"`,
  );
}

function parsePort(port: string, text: string): number {
  const number = /^\d{1,5}$/.test(port) ? Number(port) : 0;
  if (number >= 1 && number <= 65_535) return number;
  throw new RangeError(
    `"${port}" in "${text}" is not a port, wanted 1 to 65535`,
  );
}

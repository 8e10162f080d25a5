/** The group as `SERVER1_IP`, `REPLICA_PORT1` and their like describe it. */

import { type Address, parseAddress } from "../../../protocol/address.ts";
import type { NodeKind } from "../../../protocol/view.ts";
import type { GroupNode } from "./group.ts";

/** A variable that is set, and how to speak of it: `SERVER1_IP in ".env"`. */
export interface NumberedVariable {
  readonly text: string;
  readonly said: string;
}

/** Looks up a variable; empty ones count as absent. */
export type VariableLookup = (name: string) => NumberedVariable | undefined;

/** Above what a group may have, so that one too many is seen as such. */
const NUMBER_MAX = 99;

interface Family {
  readonly kind: NodeKind;
  /** The host; whoever has it needs all the others. */
  readonly host: (n: number) => string;
  readonly port: (n: number) => string;
  readonly clientPort?: (n: number) => string;
}

const FAMILIES: readonly Family[] = [
  {
    kind: "server",
    host: (n) => `SERVER${n}_IP`,
    port: (n) => `REPLICA_PORT${n}`,
    clientPort: (n) => `CLIENT_PORT${n}`,
  },
  {
    kind: "witness",
    host: (n) => `WITNESS${n}_IP`,
    port: (n) => `WITNESS_PORT${n}`,
  },
];

/** All names that {@linkcode readNumberedGroup} may look up. */
export function numberedNames(): ReadonlySet<string> {
  const names = new Set<string>();
  for (const family of FAMILIES) {
    for (let n = 1; n <= NUMBER_MAX; n += 1) {
      for (const name of namesOf(family, n)) names.add(name);
    }
  }
  return names;
}

/** The id of the node with that number: `server-2`, `witness-1`. */
export function numberedId(kind: NodeKind, number: number): string {
  return `${kind}-${number}`;
}

/**
 * Reads the group: servers first, then witnesses, each by number.
 *
 * @returns No node when no such variable is set.
 * @throws {RangeError} Says which variable is missing, or cannot be read.
 */
export function readNumberedGroup(lookup: VariableLookup): GroupNode[] {
  const nodes: GroupNode[] = [];
  for (const family of FAMILIES) {
    for (let n = 1; n <= lastNumber(family, lookup); n += 1) {
      nodes.push(readNode(family, { n, lookup }));
    }
  }
  const [first] = nodes;
  if (first?.kind === "witness") {
    throw new RangeError(
      `${
        lookup(FAMILIES[1].host(1))?.said
      } names a witness, but there is no SERVER1_IP`,
    );
  }
  return nodes;
}

function namesOf(family: Family, n: number): string[] {
  const { host, port, clientPort } = family;
  return [host(n), port(n), ...clientPort === undefined ? [] : [clientPort(n)]];
}

function lastNumber(family: Family, lookup: VariableLookup): number {
  let last = 0;
  for (let n = 1; n <= NUMBER_MAX; n += 1) {
    if (namesOf(family, n).some((name) => lookup(name) !== undefined)) last = n;
  }
  return last;
}

interface Place {
  readonly n: number;
  readonly lookup: VariableLookup;
}

function readNode(family: Family, place: Place): GroupNode {
  const { n, lookup } = place;
  const host = lookup(family.host(n));
  if (host === undefined) throw missingHost(family, place);
  const ports = namesOf(family, n).slice(1).map((name) => {
    const port = lookup(name);
    if (port === undefined) {
      throw new RangeError(`${host.said} has no ${name} beside it`);
    }
    return readAddress(host, port);
  });
  const [address, clients] = ports;
  return {
    id: numberedId(family.kind, n),
    kind: family.kind,
    address,
    ...clients !== undefined && { clients },
  };
}

function missingHost(family: Family, { n, lookup }: Place): RangeError {
  const name = family.host(n);
  for (const other of namesOf(family, n)) {
    const variable = lookup(other);
    if (variable !== undefined) {
      return new RangeError(`${variable.said} has no ${name} beside it`);
    }
  }
  for (let later = n + 1; later <= NUMBER_MAX; later += 1) {
    for (const other of namesOf(family, later)) {
      const variable = lookup(other);
      if (variable !== undefined) {
        return new RangeError(
          `${variable.said} leaves a hole in the numbering: there is no ${name}`,
        );
      }
    }
  }
  throw new Error(`No variable follows ${name}`); // `lastNumber` found one
}

function readAddress(
  host: NumberedVariable,
  port: NumberedVariable,
): Address {
  if (!/^\d{1,5}$/.test(port.text) || !isPort(Number(port.text))) {
    throw new RangeError(
      `${port.said}: "${port.text}" is not a port, wanted 1 to 65535`,
    );
  }
  const name = host.text.replace(/^\[(.*)\]$/, "$1");
  const isV6 = /^[0-9a-f]*:[0-9a-f:.]*:[0-9a-z:.%]*$/i.test(name);
  if (!isV6 && !/^[\w.-]{1,253}$/.test(name)) {
    throw new RangeError(
      `${host.said}: "${host.text}" is neither an IP address nor a host name`,
    );
  }
  return parseAddress(`${isV6 ? `[${name}]` : name}:${port.text}`);
}

function isPort(port: number): boolean {
  return port >= 1 && port <= 65_535;
}

/** The fleets that `deno task cluster` can start: one row each. */

import { type Address, formatAddress } from "../protocol/address.ts";

/** One process of a fleet. */
export interface FleetNode {
  /** Shown before each of its lines; printable ASCII, without spaces. */
  readonly name: string;
  /** What follows `main.ts`. */
  readonly arguments: readonly string[];
  /** Over the launcher's own environment. */
  readonly environment: Readonly<Record<string, string>>;
  /** Where it will listen, TCP; checked to be free before anything starts. */
  readonly listens: readonly Address[];
  /** Answers 200 when the node can do its job. */
  readonly readyUrl: string;
}

/** Processes that are started, watched and stopped together. */
export interface Fleet {
  /** Its row in {@linkcode FLEETS}, and with other ports its first port. */
  readonly name: string;
  readonly nodes: readonly FleetNode[];
  /** Lines that say how to use it, shown when all nodes are ready. */
  readonly howToReach: readonly string[];
}

/** A row: what one needs to build a fleet on given ports. */
export interface FleetRecipe {
  readonly summary: string;
  /** The usual ports; others are as many. */
  readonly ports: readonly number[];
  /** @param ports As many as the row's own, in the same order. */
  readonly build: (name: string, ports: readonly number[]) => Fleet;
}

// What one node is told and another is not. Empty counts as absent, and hides
// what a person's `.env` has for a node of their own.
const UNSET = {
  SKEIN_NEXT: "",
  SKEIN_NEXT_FROM_ORDINAL: "",
  SKEIN_SIZE: "",
  SKEIN_OUTPUT: "",
  SKEIN_SPOOL: "",
};
const HOST = "127.0.0.1";
/** Works from a checkout on a machine that has only Node. */
const TASK = "npx -y deno@2.9.6 task";

/** All fleets by name. */
export const FLEETS: Readonly<Record<string, FleetRecipe>> = {
  chain: {
    summary: "four nodes that pass messages from the head to the tail",
    // The head's port is above its successor's: so the seed has it.
    ports: [3525, 3524, 3526, 3527, 13525, 13524, 13526, 13527],
    build: chainFleet,
  },
};

/** What `deno task cluster` starts when it is not told. */
export const DEFAULT_FLEET = "chain";

/**
 * Builds a fleet from its row, on the usual ports or from `basePort` up.
 *
 * @param name A key of {@linkcode FLEETS}.
 */
export function buildFleet(
  name: string,
  options: { readonly basePort?: number },
): Fleet {
  const recipe = FLEETS[name];
  const { basePort } = options;
  if (basePort === undefined) return recipe.build(name, recipe.ports);
  return recipe.build(
    `${name}-${basePort}`,
    recipe.ports.map((_, index) => basePort + index),
  );
}

/** Four nodes in a row; `ports` are theirs, then those of their admin pages. */
function chainFleet(name: string, ports: readonly number[]): Fleet {
  const size = ports.length / 2;
  const addresses = ports.map((port) => ({ host: HOST, port }));
  const nodes: FleetNode[] = [];
  for (let index = 0; index < size; index += 1) {
    const listen = addresses[index];
    const admin = addresses[size + index];
    const id = `server${index}`;
    const next = index + 1 < size
      ? ["-n", formatAddress(addresses[index + 1])]
      : [];
    nodes.push({
      name: id,
      arguments: [
        ...["chain", "-l", formatAddress(listen), ...next],
        ...["--id", id, "--admin", formatAddress(admin)],
        ...["--print", "full", "--exit-with-parent"],
      ],
      environment: UNSET,
      listens: [listen, admin],
      readyUrl: `http://${formatAddress(admin)}/readyz`,
    });
  }
  const head = formatAddress(addresses[0]);
  return {
    name,
    nodes,
    howToReach: [
      `The chain: you -> ${
        addresses.slice(0, size).map(formatAddress).join(" -> ")
      }`,
      `  type to it    ${TASK} client send -c ${head}`,
      `  or plainly    nc ${HOST} ${addresses[0].port}`,
      ...nodes.map((node, index) =>
        `  ${index === 0 ? "admin pages" : "           "}   http://${
          formatAddress(addresses[size + index])
        }/ ${node.name}`
      ),
    ],
  };
}

/** What is measured side by side. */

import type { Workbench } from "../workbench.ts";
import { EtcdFleet } from "./etcd_fleet.ts";
import type { Fleet } from "./fleet.ts";
import type { Protocol } from "./load_plan.ts";
import { NatsFleet } from "./nats_fleet.ts";
import { SkeinFleet } from "./skein_fleet.ts";
import type { SkeinSeed } from "./skein_seed.ts";

/** One of the systems. */
export interface System {
  readonly name: string;
  readonly protocol: Protocol;
  /** What is true of a write when it is acknowledged. */
  readonly durability: string;
  /** What must be installed, and as which package of Debian. */
  readonly program: { readonly name: string; readonly package: string } | null;
  start(bench: Workbench): Promise<Fleet>;
  /** File with the sessions of its clients. */
  readonly sessions?: string;
  /** Parts of the kills asked for: some take seconds each. */
  readonly killShare: number;
}

/** Name of the system that all this is about. */
export const SKEIN = "Skein";
export const ETCD = "etcd";
export const JETSTREAM = "JetStream";

/** All but Skein. */
export const PEERS: readonly System[] = [
  {
    name: ETCD,
    protocol: "etcd",
    durability: "synced on 2 of 3 before the answer",
    program: { name: "etcd", package: "etcd-server" },
    start: (bench) => EtcdFleet.start(bench),
    killShare: 1 / 4,
  },
  {
    name: JETSTREAM,
    protocol: "nats",
    durability: "written on 2 of 3, synced every 2 minutes",
    program: { name: "nats-server", package: "nats-server" },
    start: (bench) => NatsFleet.start(bench),
    killShare: 3 / 20,
  },
];

/** Skein, whose servers start with accounts that the clients know. */
export function skein(seed: SkeinSeed): System {
  return {
    name: SKEIN,
    protocol: "skein",
    durability: "synced on 3 of 3 before the answer",
    program: null,
    start: (bench) => SkeinFleet.start(bench, seed.folder),
    sessions: seed.sessions,
    killShare: 1,
  };
}

/** The version that is installed, in its own words; undefined: it is not. */
export function versionOf(program: string): string | undefined {
  try {
    const { stdout } = new Deno.Command(program, { args: ["--version"] })
      .outputSync();
    return new TextDecoder().decode(stdout).split("\n")[0].trim();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

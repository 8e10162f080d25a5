/** The simulations by name; each is loaded only when it is asked for. */

/** One run's outcome; `transcript` is empty unless asked for. */
export interface SimulationRun {
  readonly seed: number;
  readonly steps: number;
  readonly messages: number;
  readonly faults: number;
  /** What did not hold; empty when all did. */
  readonly failures: readonly string[];
  readonly transcript: readonly string[];
}

/** Runs one cluster from one seed. */
export type Simulation = (
  seed: number,
  options?: { transcript: boolean },
) => SimulationRun;

const LOADERS: Readonly<Record<string, () => Promise<Simulation>>> = {
  chain: async () => (await import("./chain_world.ts")).runChain,
  chat: async () => (await import("./chat_world.ts")).runChat,
  mesh: async () => (await import("./mesh_world.ts")).runMesh,
  discovery: async () => (await import("./discovery_world.ts")).runDiscovery,
};

/** What there is to simulate. */
export const SIMULATIONS: readonly string[] = Object.keys(LOADERS);

/** The simulation of that name, or undefined. */
export async function loadSimulation(
  name: string,
): Promise<Simulation | undefined> {
  return Object.hasOwn(LOADERS, name) ? await LOADERS[name]() : undefined;
}

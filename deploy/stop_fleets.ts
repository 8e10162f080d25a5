/** Ends fleets whose launcher was left behind or is gone. */

import type { FleetState, FleetStates, NamedProcess } from "./fleet_state.ts";
import { STOP_WAIT_MS } from "./launcher.ts";
import { isAlive, signal, waitGone } from "./process_id.ts";

/** A launcher needs a little longer than its nodes. */
const LAUNCHER_WAIT_MS = STOP_WAIT_MS + 3_000;
const KILL_WAIT_MS = 2_000;

/**
 * Ends every fleet of which there is a note, and removes the notes.
 *
 * @returns One line for each, that says what was stopped. None if nothing ran.
 * @throws {Error} A process that cannot be signalled, or does not end.
 */
export async function stopFleets(states: FleetStates): Promise<string[]> {
  const lines: string[] = [];
  for (const state of states.read()) {
    const line = await stopFleet(state);
    if (line !== undefined) lines.push(line);
    states.remove(state.fleet);
  }
  return lines;
}

async function stopFleet(state: FleetState): Promise<string | undefined> {
  const launcher: NamedProcess = { name: "launcher", ...state.launcher };
  const alive = [launcher, ...state.nodes].filter(isAlive);
  if (alive.length === 0) return undefined;
  // The launcher stops its nodes; only without one are they told directly.
  if (signal(launcher, "SIGTERM")) {
    await waitGone(alive, LAUNCHER_WAIT_MS);
  } else {
    for (const node of alive) signal(node, "SIGTERM");
    await waitGone(alive, STOP_WAIT_MS);
  }
  const killed = alive.filter((process) => signal(process, "SIGKILL"));
  const left = await waitGone(killed, KILL_WAIT_MS);
  if (left.length > 0) {
    throw new Error(
      `Cannot stop ${state.fleet}: process ${
        left.map(({ pid }) => pid).join(", ")
      } survives SIGKILL`,
    );
  }
  const names = alive.map((process) =>
    `${process.name} ${process.pid}${
      killed.includes(process) ? " (killed)" : ""
    }`
  );
  return `Stopped ${state.fleet}: ${names.join(", ")}`;
}

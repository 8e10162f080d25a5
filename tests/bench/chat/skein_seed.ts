/** A fleet's data with accounts and sessions in it, made once for all fleets. */

import type { Workbench } from "../workbench.ts";
import { SkeinFleet } from "./skein_fleet.ts";
import { SKEIN_SINK } from "./skein_link.ts";
import { makeSessions } from "./skein_sessions.ts";

/** What a fleet starts from. */
export interface SkeinSeed {
  /** A folder for each server and witness. */
  readonly folder: string;
  /** File with the sessions, see `readSessions`. */
  readonly sessions: string;
}

/**
 * Logs `count` clients in: passwords are slow to check, and none of the others
 * does anything like it, so it is no part of what is measured.
 */
export async function makeSkeinSeed(
  bench: Workbench,
  count: number,
): Promise<SkeinSeed> {
  const fleet = await SkeinFleet.start(bench);
  const { folder, ports } = fleet;
  const sessions = await makeSessions(ports, { count, sink: SKEIN_SINK });
  await fleet.stop();
  const path = bench.write("sessions.json", JSON.stringify(sessions));
  return { folder, sessions: path };
}

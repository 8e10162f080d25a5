/** Starts load processes, one at a time. */

import type { Static, TSchema } from "typebox";
import { Value } from "typebox/value";
import { inTime } from "../in_time.ts";
import type { Workbench } from "../workbench.ts";
import {
  KillPlan,
  KillResult,
  LoadFailure,
  LoadPlan,
  LoadResult,
} from "./load_plan.ts";

const LOAD_PROCESS = new URL("./load_process.ts", import.meta.url).pathname;

/** What a load process may take to start, to connect and to end. */
const AROUND_MS = 30_000;

/** @throws {Error} With what the load process says when it cannot go on. */
export function runLoad(
  bench: Workbench,
  plan: LoadPlan,
): Promise<LoadResult> {
  const waitMs = plan.warmUpMs + plan.measureMs + AROUND_MS;
  return run(bench, { plan, waitMs, schema: LoadResult });
}

/** @throws {Error} With what the load process says when it cannot go on. */
export function runKill(
  bench: Workbench,
  plan: KillPlan,
): Promise<KillResult> {
  const waitMs = plan.warmUpMs + plan.waitMsMax + AROUND_MS;
  return run(bench, { plan, waitMs, schema: KillResult });
}

async function run<Schema extends TSchema>(
  bench: Workbench,
  { plan, waitMs, schema }: {
    readonly plan: LoadPlan | KillPlan;
    readonly waitMs: number;
    readonly schema: Schema;
  },
): Promise<Static<Schema>> {
  const child = bench.start(Deno.execPath(), {
    args: ["run", "-A", LOAD_PROCESS, JSON.stringify(plan)],
    isRead: true,
  });
  let text: string;
  try {
    const said = new Response(child.stdout).text();
    text = await inTime(said, { waitMs, what: "a load to end" });
  } finally {
    await child.end();
  }
  const answer: unknown = text === "" ? undefined : JSON.parse(text);
  if (Value.Check(schema, answer)) return answer;
  if (Value.Check(LoadFailure, answer)) throw new Error(answer.error);
  throw new Error(`The load said "${text.trim()}" and no result`);
}

/** Processes, named so that a reused number is never mistaken for the old one. */

/** One process, now and only now: its number and when it started. */
export interface ProcessId {
  /** The number that the system gave it; 1 or more. */
  readonly pid: number;
  /** Boot and start time; opaque, equal only for the same process. */
  readonly startedAt: string;
}

/** Returns the process that has the number `pid` now; nothing if there is none or it is a zombie. */
export function processId(pid: number): ProcessId | undefined {
  const startedAt = Deno.build.os === "linux"
    ? startedAtFromProc(pid)
    : startedAtFromPs(pid);
  return startedAt === undefined ? undefined : { pid, startedAt };
}

/** Whether that very process still runs. */
export function isAlive(process: ProcessId): boolean {
  return processId(process.pid)?.startedAt === process.startedAt;
}

/**
 * Signals that very process, never a later one with the same number.
 *
 * @returns Whether it was there to be signalled.
 * @throws {Deno.errors.PermissionDenied} It belongs to another user.
 */
export function signal(process: ProcessId, name: Deno.Signal): boolean {
  if (!isAlive(process)) return false;
  try {
    Deno.kill(process.pid, name);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/**
 * Waits until none of `processes` runs, at most `waitMs`.
 *
 * @returns Those that still run.
 */
export async function waitGone(
  processes: readonly ProcessId[],
  waitMs: number,
): Promise<ProcessId[]> {
  const deadlineMs = performance.now() + waitMs;
  while (true) {
    const left = processes.filter(isAlive);
    if (left.length === 0 || performance.now() >= deadlineMs) return left;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

const POLL_MS = 20;

function startedAtFromProc(pid: number): string | undefined {
  try {
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    // The second field, the name, may hold spaces and parentheses.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const state = fields[0];
    if (state === "Z" || state === "X") return undefined;
    const boot = Deno.readTextFileSync("/proc/sys/kernel/random/boot_id");
    return `${boot.trim()}:${fields[19]}`; // field 22 of proc(5), in ticks
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

function startedAtFromPs(pid: number): string | undefined {
  const { success, stdout } = new Deno.Command("ps", {
    args: ["-o", "stat=,lstart=", "-p", String(pid)],
    stderr: "null",
  }).outputSync();
  const [state, ...started] = new TextDecoder().decode(stdout).trim().split(
    /\s+/,
  );
  if (!success || state.startsWith("Z")) return undefined;
  return started.join(" ");
}

/** A process may end between any two looks: its files vanish, or reading fails. */
function isGone(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound ||
    (error instanceof Error && "code" in error && error.code === "ESRCH");
}

/** How long processes have kept processors busy. */

/** Ticks a second of `/proc`, the same on every Linux that runs Deno. */
const TICKS = 100;

/** Seconds of processor time that these have used; 0 where nobody tells. */
export function processorSeconds(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + secondsOf(pid), 0);
}

function secondsOf(pid: number): number {
  let text: string;
  try {
    text = Deno.readTextFileSync(`/proc/${pid}/stat`);
  } catch {
    // It has ended, or this is no Linux.
    return 0;
  }
  // The second field is a name in parentheses and may hold anything.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

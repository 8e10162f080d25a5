/**
 * A process that writes to a shared log: PATH SERVER FIRST COUNT FILE_BYTES.
 * Appends messages with the texts "LIFE N", N from FIRST on, and says "acked N"
 * when those below N are in the file; LIFE is its process id. Ends when its
 * input has ended, and COUNT are written.
 */

import { SharedLog } from "../../../storage/shared_log.ts";

const [path, server, first, count, fileBytes] = Deno.args;
const PER_TURN = 20;

let isStopped = false;
void Deno.stdin.read(new Uint8Array(1)).then(() => isStopped = true);

const log = await SharedLog.open(path, {
  server,
  fileBytesMax: Number(fileBytes),
  filesMax: 9_000,
  onTrouble: ({ kind, message }) => console.log(`trouble ${kind} ${message}`),
});
const end = Number(first) + Number(count);
let next = Number(first);
while (!isStopped || next < end) {
  for (let more = 0; more < PER_TURN; more++) {
    if (log.isFull) await log.flush();
    log.append({
      type: "msg",
      timeMs: Date.now(),
      from: "Dana",
      text: `${Deno.pid} ${next}`,
    });
    next += 1;
  }
  const acked = next;
  // Also while more is written: what is said is only what is in the file.
  void log.flush().then(() => console.log(`acked ${acked}`));
  await new Promise<void>((resolve) => setTimeout(resolve, 0));
}
await log.flush();
const { lostEntries } = await log.close(0);
console.log(`lost ${lostEntries}`);

/**
 * A process that is stopped in the middle of a write: takes the lock of PATH,
 * writes half a line, and says so.
 */

const file = Deno.openSync(Deno.args[0], { read: true, append: true });
await file.lock(true);
file.writeSync(new TextEncoder().encode('{"seq":2,"time":"2026-'));
console.log("holds");
await new Promise((resolve) => setTimeout(resolve, 3_600_000));

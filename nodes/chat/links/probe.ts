/** Whether a process is gone: nobody listens at its address any more. */

import type { Address } from "../../../protocol/address.ts";
import { closeConn, connect } from "../../host/link.ts";

/** Between two attempts: a process that dies closes one thing after another. */
const AGAIN_AFTER_MS = 2;

/** Whether an error says that nobody listens there. */
export function isConnectionRefused(error: unknown): boolean {
  return error instanceof Error &&
    error.cause instanceof Deno.errors.ConnectionRefused;
}

/**
 * Connects and says nothing. A process that dies may still hold its listener
 * for a moment, so a connection that is broken off is tried again.
 *
 * @returns True when the connection is refused; false when it stands, or
 * nothing is certain within `waitMs`.
 */
export async function probeRefused(
  address: Address,
  options: { waitMs: number; signal: AbortSignal },
): Promise<boolean> {
  const { signal } = options;
  const endMs = performance.now() + options.waitMs;
  while (!signal.aborted) {
    const waitMs = endMs - performance.now();
    if (waitMs <= 0) return false;
    try {
      const conn = await connect(address, { waitMs, signal });
      if (await holds(conn, { waitMs, signal })) return false;
    } catch (error) {
      if (isConnectionRefused(error)) return true;
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN_AFTER_MS));
  }
  return false;
}

/** Whether a connection stands for `waitMs`; it is closed afterwards. */
async function holds(
  conn: Deno.Conn,
  options: { waitMs: number; signal: AbortSignal },
): Promise<boolean> {
  let isOver = false;
  const end = () => {
    isOver = true;
    closeConn(conn);
  };
  const timer = setTimeout(end, options.waitMs);
  options.signal.addEventListener("abort", end, { once: true });
  try {
    return await conn.read(new Uint8Array(1)) !== null;
  } catch {
    return isOver; // Broken off by the other end, or by ourselves.
  } finally {
    clearTimeout(timer);
    options.signal.removeEventListener("abort", end);
    closeConn(conn);
  }
}

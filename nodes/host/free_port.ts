/** Ports for processes that are found wherever they listen. */

import type { Address } from "../../protocol/address.ts";

/** Ports tried from the first on; then the system chooses. */
const PORTS_TRIED = 9;

/**
 * Listens at the first port that is free: that of `address`, the next ones, and
 * at last any. So several processes of one machine need not be told apart.
 *
 * @param mayMove Otherwise only the port of `address` will do.
 * @throws {Error} The system's error, when the address cannot be used.
 */
export function listenAtFree<T>(
  address: Address,
  { mayMove, listen }: {
    readonly mayMove: boolean;
    readonly listen: (address: Address) => T;
  },
): T {
  for (let more = 0; mayMove && more < PORTS_TRIED; more += 1) {
    try {
      return listen({ ...address, port: address.port + more });
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
  return listen(mayMove ? { ...address, port: 0 } : address);
}

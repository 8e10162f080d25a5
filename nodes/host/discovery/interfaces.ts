/** The networks that this machine is in, as far as discovery asks there. */

import { isPrivateAddress } from "../../../protocol/address.ts";

/** Networks asked; a machine full of containers may have hundreds. */
export const INTERFACES_MAX = 16;

/** How long a list of interfaces is believed; addresses come late after a boot. */
export const INTERFACES_AGE_MS_MAX = 5_000;

/** One IPv4 address of this machine. */
export interface LanInterface {
  readonly name: string;
  readonly address: string;
  /** The directed broadcast address; none where a network has no room for one. */
  readonly broadcast: string | undefined;
  readonly isLoopback: boolean;
}

/**
 * Lists the IPv4 addresses of this machine, loopback last: what reaches a node
 * from elsewhere as well is asked first.
 *
 * @param isKeyed Without a cluster key, public networks are left alone.
 */
export function listInterfaces(
  isKeyed: boolean,
  all: readonly Deno.NetworkInterfaceInfo[] = Deno.networkInterfaces(),
): LanInterface[] {
  const found: LanInterface[] = [];
  for (const { family, name, address, netmask } of all) {
    if (family !== "IPv4") continue;
    if (!isKeyed && !isPrivateAddress(address)) continue;
    if (found.some((one) => one.address === address)) continue;
    const isLoopback = address.startsWith("127.");
    const broadcast = broadcastOf(address, netmask);
    found.push({ name, address, broadcast, isLoopback });
  }
  const loopback = found.filter(({ isLoopback }) => isLoopback).slice(0, 1);
  const others = found.filter(({ isLoopback }) => !isLoopback);
  return [...others.slice(0, INTERFACES_MAX - loopback.length), ...loopback];
}

function broadcastOf(address: string, netmask: string): string | undefined {
  const own = address.split(".").map(Number);
  const mask = netmask.split(".").map(Number);
  // Networks of one or two addresses have none (RFC 3021).
  if (mask[3] >= 254) return undefined;
  return own.map((byte, at) => byte | (~mask[at] & 0xff)).join(".");
}

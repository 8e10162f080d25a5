/** Where people reach this server, as far as it can tell itself. */

import {
  type Address,
  isLoopbackAddress,
  isPrivateAddress,
  isWildcardHost,
} from "../../protocol/address.ts";

/** One of the machine's addresses, as the system lists them. */
export interface OwnInterface {
  readonly name: string;
  readonly family: "IPv4" | "IPv6";
  readonly address: string;
}

/** Networks between containers of this machine alone. */
const INNER = /^(?:docker|br-|veth|virbr|cni|flannel|cali|lxc|podman)/;

/**
 * The address that others are told. Where the server listens at all of its
 * machine's addresses, the first private one counts that is not of a network
 * between containers; a machine without any is alone, and reached at loopback.
 *
 * @param listen Where it listens, with the port that it got.
 */
export function ownAddress(
  listen: Address,
  interfaces: readonly OwnInterface[],
): Address {
  if (!isWildcardHost(listen.host)) return listen;
  const { port } = listen;
  const good = interfaces.filter(({ family, address }) =>
    family === "IPv4" && isPrivateAddress(address) &&
    !isLoopbackAddress(address) && !address.startsWith("169.254.")
  );
  const outer = good.find(({ name }) => !INNER.test(name)) ?? good.at(0);
  return { host: outer?.address ?? "127.0.0.1", port };
}

/**
 * Whether an address that a server says of itself may be dialled. Without a
 * cluster key a stranger could have this one dial anybody; and a loopback
 * address is good on one machine only.
 *
 * @param own What this server says of itself.
 */
export function mayDial(
  address: Address,
  { own, isKeyed }: { readonly own: Address; readonly isKeyed: boolean },
): boolean {
  const { host } = address;
  if (isLoopbackAddress(host)) return isLoopbackAddress(own.host);
  return isKeyed || isPrivateAddress(host);
}

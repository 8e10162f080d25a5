/** The group as it is configured: who belongs to it, and what it survives. */

import { type Address, formatAddress } from "../../../protocol/address.ts";
import type { NodeId } from "../../../protocol/ids.ts";
import { type NodeKind, NODES_MAX } from "../../../protocol/view.ts";

/** A server or witness, as all others are to find it. */
export interface GroupNode {
  readonly id: NodeId;
  readonly kind: NodeKind;
  /** Where the other nodes dial it. */
  readonly address: Address;
  /** Where people reach it, if the configuration says so; servers only. */
  readonly clients?: Address;
}

/**
 * Refuses a group that cannot be meant.
 *
 * @throws {RangeError} Two nodes with one id or one address, a wildcard in
 *   place of an address, more than {@linkcode NODES_MAX} nodes, no server.
 */
export function checkGroup(nodes: readonly GroupNode[]): void {
  if (nodes.length > NODES_MAX) {
    throw new RangeError(
      `Found ${nodes.length} servers and witnesses, limit is ${NODES_MAX}`,
    );
  }
  const ids = new Map<NodeId, GroupNode>();
  const addresses = new Map<string, string>();
  for (const node of nodes) {
    const same = ids.get(node.id);
    if (same !== undefined) {
      throw new RangeError(
        same.kind === node.kind
          ? `Two ${plural(node.kind)} have the id "${node.id}"`
          : `A server and a witness both have the id "${node.id}"`,
      );
    }
    ids.set(node.id, node);
    takeAddress(addresses, { address: node.address, of: node.id });
    if (node.clients !== undefined) {
      takeAddress(addresses, {
        address: node.clients,
        of: `the clients of ${node.id}`,
      });
    }
  }
}

/** Sentences for the log at start. */
export interface GroupRemarks {
  /** What the group survives. */
  readonly survival: string;
  /** What its operator may not have meant. */
  readonly warnings: readonly string[];
}

/** Says what a group survives, and what is odd about it. */
export function remarksOn(nodes: readonly GroupNode[]): GroupRemarks {
  const warnings: string[] = [];
  const size = sizeOf(nodes);
  const even = evenWarning(size);
  if (even !== undefined) warnings.push(even);
  const [local] = nodes.filter((node) => isLoopbackHost(node.address.host));
  const [remote] = nodes.filter((node) => !isLoopbackHost(node.address.host));
  if (local !== undefined && remote !== undefined) {
    warnings.push(
      `${local.id} has the address ${
        formatAddress(local.address)
      }, which is another machine for each that dials it; ${remote.id} has ${
        formatAddress(remote.address)
      }`,
    );
  }
  return { survival: survivalOf(nodes), warnings };
}

/** Says how many of these voters may die, and what would make it more. */
export function survivalOf(nodes: readonly { kind: NodeKind }[]): string {
  const size = sizeOf(nodes);
  const { servers, witnesses } = size;
  const losses = survivedLosses(size);
  const voters = count(servers + witnesses, "voter");
  const group = witnesses === 0
    ? voters
    : `${voters} (${count(servers, "server")}, ${count(witnesses, "witness")})`;
  const survives = losses === 0
    ? servers === 1 && witnesses > 1
      ? "does not survive the loss of its only server"
      : "survives no loss"
    : witnesses > 0
    ? `survives any ${losses}`
    : `survives ${count(losses, "loss")}`;
  return `${group}: ${survives}${advice(size)}`;
}

/** Whether a host is of this machine alone. */
export function isLoopbackHost(host: string): boolean {
  return /^127\.\d+\.\d+\.\d+$/.test(host) || host === "::1" ||
    host.toLowerCase() === "localhost";
}

interface GroupSize {
  readonly servers: number;
  readonly witnesses: number;
}

function sizeOf(nodes: readonly { kind: NodeKind }[]): GroupSize {
  const servers = nodes.filter(({ kind }) => kind === "server").length;
  return { servers, witnesses: nodes.length - servers };
}

/** How many nodes may die, whichever they are. */
function survivedLosses({ servers, witnesses }: GroupSize): number {
  const minority = Math.floor((servers + witnesses - 1) / 2);
  return Math.min(minority, servers - 1);
}

/** With a witness less than servers, all servers but one may die. */
function advice(size: GroupSize): string {
  const { servers, witnesses } = size;
  if (servers === 1) {
    return witnesses === 0
      ? "; add a server and a witness to survive 1"
      : "; add a server to survive 1";
  }
  const wanted = servers - 1;
  if (survivedLosses(size) >= wanted) return "";
  return `; add ${count(wanted - witnesses, "witness")} to survive ${wanted}`;
}

function evenWarning(size: GroupSize): string | undefined {
  const { servers, witnesses } = size;
  const voters = servers + witnesses;
  if (voters % 2 === 1) return undefined;
  const more = survivedLosses({ servers, witnesses: witnesses + 1 });
  if (more > survivedLosses(size)) {
    return `${voters} voters are an even number: with one witness more the group would survive ${
      count(more, "loss")
    }`;
  }
  return `${voters} voters are an even number: with one ${
    witnesses > 0 ? "witness" : "server"
  } less the group would survive as many losses`;
}

function takeAddress(
  taken: Map<string, string>,
  found: { readonly address: Address; readonly of: string },
): void {
  const text = formatAddress(found.address);
  if (/^(?:0\.0\.0\.0|::)$/.test(found.address.host)) {
    throw new RangeError(
      `Nobody can dial ${text}, the address of ${found.of}: wanted the one that the others reach it at`,
    );
  }
  const other = taken.get(text.toLowerCase());
  if (other !== undefined) {
    throw new RangeError(
      `${other} and ${found.of} have one address, ${text}`,
    );
  }
  taken.set(text.toLowerCase(), found.of);
}

function plural(kind: NodeKind): string {
  return kind === "server" ? "servers" : "witnesses";
}

function count(number: number, noun: string): string {
  const ending = number === 1 ? "" : noun.endsWith("s") ? "es" : "s";
  return `${number} ${noun}${ending}`;
}

/** Which TCP ports are taken, and by whom. */

import type { Address } from "../protocol/address.ts";
import { escapeText } from "../nodes/host/text.ts";

/** A process that listens on a port. */
export interface PortHolder {
  readonly pid: number;
  /**
   * Its name without folders, and its arguments; printable, at most
   * {@linkcode COMMAND_CHARACTERS_MAX} characters.
   */
  readonly command: string;
}

/** An address on which nobody else can listen now. */
export interface TakenPort {
  readonly address: Address;
  /** Empty where the system does not say, or not to this user. */
  readonly holders: readonly PortHolder[];
}

const COMMAND_CHARACTERS_MAX = 160;
const LISTENING = "0A"; // TCP_LISTEN, as /proc/net/tcp writes it

/**
 * Tries each address by listening on it, and looks up who holds those that
 * are taken.
 *
 * @returns The taken ones, in the order given.
 * @throws {Error} An address on which one cannot listen for another reason.
 */
export function takenPorts(addresses: readonly Address[]): TakenPort[] {
  return addresses.filter((address) => !isFree(address)).map((address) => ({
    address,
    holders: Deno.build.os === "linux" ? portHolders(address) : [],
  }));
}

function isFree({ host, port }: Address): boolean {
  try {
    Deno.listen({ hostname: host, port }).close();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) return false;
    throw new Error(`Cannot listen on ${host}:${port}`, { cause: error });
  }
}

/** Reads `/proc`: listening sockets, then which process has them open. */
function portHolders(address: Address): PortHolder[] {
  const sockets = new Set<string>();
  for (const table of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    for (const line of readIfAllowed(table).split("\n").slice(1)) {
      const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
      if (state === LISTENING && coversAddress(local, address)) {
        sockets.add(`socket:[${inode}]`);
      }
    }
  }
  if (sockets.size === 0) return [];
  const holders: PortHolder[] = [];
  for (const { name } of Deno.readDirSync("/proc")) {
    if (/^\d+$/.test(name) && holdsSocket(name, sockets)) {
      holders.push({ pid: Number(name), command: commandOf(name) });
    }
  }
  return holders;
}

/** Whether a listener on `local` (`HEXADDRESS:HEXPORT`) keeps others off `address`. */
function coversAddress(local: string, address: Address): boolean {
  const [host, port] = local.split(":");
  if (parseInt(port, 16) !== address.port) return false;
  const bytes = address.host.split(".").map(Number);
  if (bytes.length !== 4) return true; // a name or IPv6: any host will do
  const wanted = bytes.reverse()
    .map((byte) => byte.toString(16).padStart(2, "0")).join("").toUpperCase();
  return /^0+$/.test(host) || host === wanted ||
    host === `0000000000000000FFFF0000${wanted}`;
}

function holdsSocket(pid: string, sockets: ReadonlySet<string>): boolean {
  try {
    for (const { name } of Deno.readDirSync(`/proc/${pid}/fd`)) {
      if (sockets.has(linkOf(`/proc/${pid}/fd/${name}`))) return true;
    }
  } catch (error) {
    if (!isHidden(error)) throw error;
  }
  return false;
}

function linkOf(path: string): string {
  try {
    return Deno.readLinkSync(path);
  } catch (error) {
    if (isHidden(error)) return "";
    throw error;
  }
}

function commandOf(pid: string): string {
  const [program, ...rest] = readIfAllowed(`/proc/${pid}/cmdline`).split("\0");
  const words = [program.slice(program.lastIndexOf("/") + 1), ...rest];
  const command = escapeText(words.join(" ").trim());
  return command.length > COMMAND_CHARACTERS_MAX
    ? `${command.slice(0, COMMAND_CHARACTERS_MAX - 1)}…`
    : command;
}

function readIfAllowed(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (isHidden(error)) return "";
    throw error;
  }
}

/** Another user's process, or one that ended while we looked. */
function isHidden(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound ||
    error instanceof Deno.errors.PermissionDenied ||
    error instanceof Deno.errors.NotCapable ||
    (error instanceof Error && "code" in error && error.code === "ESRCH");
}

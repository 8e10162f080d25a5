/** The file that lists the other servers: `peersA.json` and its kin. */

import {
  type Address,
  formatAddress,
  parseAddress,
} from "../../protocol/address.ts";
import { isName } from "../../protocol/ids.ts";
import { MESH_SERVERS_MAX } from "../../protocol/mesh_peer.ts";
import type { NamedAddress } from "../host/flag_values.ts";
import { readSmallFile } from "../host/small_file.ts";

/** Bytes of the file: 64 servers by the longest names there are need 26 KiB. */
export const PEERS_FILE_BYTES_MAX = 65_536;

/** Characters of a wrong value that an error shows. */
const SHOWN_CHARACTERS_MAX = 60;

const FORMS =
  `[{"id":"B","host":"127.0.0.1","port":5002}], {"B":["127.0.0.1",5002]} or {"B":"127.0.0.1:5002"}`;

/**
 * Reads who the other servers are. All of these forms say the same:
 *
 * - `[{"id":"B","host":"127.0.0.1","port":5002}]`; for `id` also `name`,
 *   `server` or `server_id`, for `host` also `ip` or `address`
 * - `{"B":["127.0.0.1",5002]}`, `{"B":"127.0.0.1:5002"}`,
 *   `{"B":{"host":"127.0.0.1","port":5002}}`
 * - any of them as `{"peers":…}`
 *
 * The server itself may be among them.
 *
 * @throws {RangeError} The file cannot be read or is no such list; says where.
 */
export function readPeersFile(path: string): readonly NamedAddress[] {
  const { bytes } = readSmallFile(path, { bytesMax: PEERS_FILE_BYTES_MAX });
  try {
    return parsePeers(textOf(bytes));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new RangeError(`Cannot use "${path}": ${error.message}`, {
      cause: error,
    });
  }
}

/**
 * The same of a file's text.
 *
 * @throws {RangeError} Says what was found, where, and what was wanted.
 */
export function parsePeers(text: string): readonly NamedAddress[] {
  const peers = peersOf(parse(text));
  if (peers.length > MESH_SERVERS_MAX) {
    throw new RangeError(
      `it lists ${peers.length} servers, limit is ${MESH_SERVERS_MAX}`,
    );
  }
  const names = new Set<string>();
  for (const { id } of peers) {
    if (names.has(id)) throw new RangeError(`"${id}" is there twice`);
    names.add(id);
  }
  return peers;
}

function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new RangeError("it is not text in UTF-8", { cause });
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new RangeError(`it is not JSON: ${why}`, { cause });
  }
}

function peersOf(value: unknown, at = ""): NamedAddress[] {
  if (Array.isArray(value)) {
    return value.map((one, index) => listed(one, `${at}[${index}]`));
  }
  if (!isObject(value)) throw wrong(at, value, FORMS);
  if (at === "" && "peers" in value) return peersOf(value.peers, "peers");
  return Object.entries(value).map(([id, place]) => {
    const where = at === "" ? JSON.stringify(id) : `${at}.${id}`;
    return { id: nameOf(id, where), address: placeOf(place, where) };
  });
}

/** One of a list, which says its own name. */
function listed(value: unknown, at: string): NamedAddress {
  const wanted = `{"id":"B","host":"127.0.0.1","port":5002}`;
  if (!isObject(value)) throw wrong(at, value, wanted);
  const id = value.id ?? value.name ?? value.server ?? value.server_id;
  if (id === undefined) throw wrong(`${at}.id`, id, `a name such as "B"`);
  return { id: nameOf(id, `${at}.id`), address: placeOf(value, at) };
}

function nameOf(value: unknown, at: string): string {
  if (typeof value === "string" && isName(value)) return value;
  throw wrong(
    at,
    value,
    `a name: 1 to 64 of A-Z, a-z, 0-9, ".", "_", ":" and "-"`,
  );
}

function placeOf(value: unknown, at: string): Address {
  if (typeof value === "string") return wholeAddress(value, at);
  if (Array.isArray(value)) {
    if (value.length !== 2) throw wrong(at, value, `["127.0.0.1",5002]`);
    return addressOf(
      { host: value[0], port: value[1] },
      { host: `${at}[0]`, port: `${at}[1]` },
    );
  }
  if (!isObject(value)) throw wrong(at, value, FORMS);
  const { port } = value;
  const host = value.host ?? value.ip ?? value.address;
  return addressOf({ host, port }, { host: `${at}.host`, port: `${at}.port` });
}

/** @param at Where the two stand in the file. */
function addressOf(
  { host, port }: { readonly host: unknown; readonly port: unknown },
  at: { readonly host: string; readonly port: string },
): Address {
  if (typeof host !== "string" || host === "") {
    throw wrong(at.host, host, `a host such as "127.0.0.1"`);
  }
  const number = typeof port === "string" && /^\d{1,5}$/.test(port)
    ? Number(port)
    : port;
  const isPort = typeof number === "number" && Number.isInteger(number) &&
    number >= 1 && number <= 65_535;
  if (!isPort) throw wrong(at.port, port, "a port from 1 to 65535");
  const bare = /^\[(.*)\]$/.exec(host)?.[1] ?? host;
  return wholeAddress(formatAddress({ host: bare, port: number }), at.host);
}

function wholeAddress(text: string, at: string): Address {
  try {
    const address = parseAddress(text);
    if (address.port > 0) return address;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  throw wrong(at, text, `an address such as "127.0.0.1:5002"`);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @param at Where in the file; empty for the whole. */
function wrong(at: string, value: unknown, wanted: string): RangeError {
  const found = value === undefined ? "nothing" : JSON.stringify(value);
  const shown = found.length > SHOWN_CHARACTERS_MAX
    ? `${found.slice(0, SHOWN_CHARACTERS_MAX)}…`
    : found;
  const where = at === "" ? "" : `${at}: `;
  return new RangeError(`${where}found ${shown}, wanted ${wanted}`);
}

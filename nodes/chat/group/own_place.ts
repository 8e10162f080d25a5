/** The directory, and with it the name, of a node that was given neither. */

import { join } from "node:path";
import { isName, type NodeId } from "../../../protocol/ids.ts";
import { DirectoryLock } from "../../../storage/directory_lock.ts";
import { AUTOMATIC_NAME } from "../../../storage/ended_groups.ts";
import { causeText, StorageError } from "../../../storage/errors.ts";
import type { NodeKind } from "../../../protocol/view.ts";
import type { NodeSettings } from "./group_flags.ts";

/** Characters of a host's name that a node's name has; 5 more follow. */
const HOST_CHARACTERS_MAX = 40;

/** Directories of a folder that are looked at; more processes have no place in one. */
const PLACES_MAX = 1_000;

/** Settings of a node that has its directory. */
export interface Placed<Settings extends NodeSettings> {
  readonly settings: Settings;
  readonly lock: DirectoryLock;
}

/**
 * Takes the node's directory. In a folder a node without a name takes the first
 * directory that another such node has left, and is called as that one was;
 * else it makes one, called by its host and four random digits. So any number
 * of processes may be started in one folder, and started again.
 *
 * @throws {StorageError} `locked`, `open-failed`: refuse to start.
 */
export function takePlace<Settings extends NodeSettings>(
  settings: Settings,
  hostname: () => string,
): Placed<Settings> {
  const { isNamed, isDataFolder, data: folder, kind } = settings;
  if (isNamed) return { settings, lock: DirectoryLock.acquire(folder) };
  if (!isDataFolder) {
    const lock = DirectoryLock.acquire(folder);
    const known = readName(folder, kind);
    const id = known ?? nameFor(hostname());
    if (known === undefined) writeName(folder, { kind, id });
    return { settings: { ...settings, id }, lock };
  }
  for (const data of leftIn(folder, kind)) {
    try {
      const lock = DirectoryLock.acquire(data);
      const id = readName(data, kind) ?? nameFor(hostname());
      return { settings: { ...settings, id, data }, lock };
    } catch (error) {
      // In use: this one's owner lives.
      if (error instanceof StorageError && error.code === "locked") continue;
      throw error;
    }
  }
  const id = nameFor(hostname());
  const data = join(folder, id);
  const lock = DirectoryLock.acquire(data);
  writeName(data, { kind, id });
  return { settings: { ...settings, id, data }, lock };
}

/** Directories that nodes of this kind without a name have made. */
function leftIn(folder: string, kind: NodeKind): string[] {
  try {
    return [...Deno.readDirSync(folder)]
      .filter(({ isDirectory }) => isDirectory)
      .map(({ name }) => join(folder, name)).sort().slice(0, PLACES_MAX)
      .filter((data) => readName(data, kind) !== undefined);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return [];
    throw openError(folder, cause);
  }
}

/** The name that a directory's node had; undefined if it is none of this kind. */
function readName(data: string, kind: NodeKind): NodeId | undefined {
  try {
    const text = Deno.readTextFileSync(join(data, AUTOMATIC_NAME));
    const [found, id = ""] = text.trim().split(" ");
    return found === kind && isName(id) ? id : undefined;
  } catch {
    // Somebody else's directory, or one that cannot be read: left alone.
    return undefined;
  }
}

/**
 * Durably, before anything else is in the directory: without the name nobody
 * would look there for what was acknowledged.
 */
function writeName(
  data: string,
  { kind, id }: { kind: NodeKind; id: NodeId },
): void {
  try {
    using file = Deno.openSync(join(data, AUTOMATIC_NAME), {
      ...{ write: true, create: true, truncate: true, mode: 0o600 },
    });
    file.writeSync(new TextEncoder().encode(`${kind} ${id}\n`));
    file.syncSync();
    using directory = Deno.openSync(data, { read: true });
    directory.syncSync();
  } catch (cause) {
    throw openError(data, cause);
  }
}

/** `HOST-xxxx`: told apart even where all machines have one name. */
function nameFor(hostname: string): NodeId {
  const [label] = hostname.split(".");
  const host = label.replaceAll(/[^A-Za-z0-9_-]/g, "-")
    .slice(0, HOST_CHARACTERS_MAX);
  const digits = crypto.getRandomValues(new Uint8Array(2)).toHex();
  return `${host || "node"}-${digits}`;
}

function openError(path: string, cause: unknown): StorageError {
  return new StorageError(
    "open-failed",
    `Cannot open "${path}": ${causeText(cause)}`,
    { path, cause },
  );
}

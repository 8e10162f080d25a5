/** The groups that a node was in and that ended; how a directory begins anew. */

import { join } from "node:path";
import { Type } from "typebox";
import { Compile } from "typebox/compile";
import type { StoreId } from "../protocol/epoch.ts";
import { parseJson } from "../protocol/json.ts";
import { STORE_SCHEMA } from "../protocol/view_codec.ts";
import { causeText, StorageError } from "./errors.ts";

/** Name of the file in a data directory. */
export const ENDED_GROUPS_NAME = "ended-groups.json";

/** In a directory that a node without a name has made for itself. */
export const AUTOMATIC_NAME = "automatic";

/**
 * What a server or a witness keeps for its group, finished or not. Somebody may
 * have put files of his own beside these, or named a folder of other nodes.
 */
const KEPT_FOR_GROUP =
  /^(?:(?:acceptor|log)-\d{6,15}\.log|snapshot-\d{6,15}\.snap|state\.db|ended-groups\.json(?=\.new$))(?:\.new|\.repair|\.damaged|-wal|-shm|-journal)*$/;

/** Groups remembered; the oldest is forgotten first. */
export const ENDED_GROUPS_MAX = 16;

const CONTENT = Compile(Type.Object({
  groups: Type.Array(STORE_SCHEMA, { maxItems: ENDED_GROUPS_MAX }),
  isToBeEmptied: Type.Boolean(),
}));

interface Content {
  readonly groups: readonly StoreId[];
  readonly isToBeEmptied: boolean;
}

/**
 * Notes, durably, that a group has ended: nothing in this directory counts from
 * here on, and the next {@linkcode openEndedGroups} removes it.
 *
 * @throws {StorageError} `write-failed`: exit.
 */
export function endGroup(directory: string, group: StoreId): void {
  const { groups } = read(directory);
  const kept = [...groups.filter((other) => other !== group), group];
  write(directory, {
    groups: kept.slice(-ENDED_GROUPS_MAX),
    isToBeEmptied: true,
  });
}

/**
 * The groups that ended here, latest last. If the last one left files, they are
 * removed first, whenever that was interrupted; nothing else is.
 *
 * @param directory One that this process has locked.
 * @throws {StorageError} `write-failed`, `open-failed`: refuse to start.
 */
export function openEndedGroups(directory: string): readonly StoreId[] {
  const { groups, isToBeEmptied } = read(directory);
  if (!isToBeEmptied) return groups;
  try {
    for (const { name, isFile } of Deno.readDirSync(directory)) {
      if (!isFile || !KEPT_FOR_GROUP.test(name)) continue;
      Deno.removeSync(join(directory, name));
    }
    syncDirectory(directory);
  } catch (cause) {
    throw failure(directory, cause);
  }
  write(directory, { groups, isToBeEmptied: false });
  return groups;
}

function read(directory: string): Content {
  const path = join(directory, ENDED_GROUPS_NAME);
  let bytes: Uint8Array;
  try {
    bytes = Deno.readFileSync(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) {
      return { groups: [], isToBeEmptied: false };
    }
    throw new StorageError(
      "open-failed",
      `Cannot read "${path}": ${causeText(cause)}`,
      { path, cause },
    );
  }
  try {
    const value = parseJson(bytes);
    if (CONTENT.Check(value)) return value;
  } catch {
    // Below: what is no JSON is as wrong as what has other fields.
  }
  throw new StorageError(
    "wrong-format",
    `Cannot read "${path}": it is not what Skein has written; remove it if its group is to go on`,
    { path },
  );
}

/** Whole or not at all: written beside, synced, renamed. */
function write(directory: string, content: Content): void {
  const path = join(directory, ENDED_GROUPS_NAME);
  const made = `${path}.new`;
  try {
    {
      using file = Deno.openSync(made, {
        write: true,
        create: true,
        truncate: true,
        mode: 0o600,
      });
      const bytes = new TextEncoder().encode(`${JSON.stringify(content)}\n`);
      for (let at = 0; at < bytes.length;) {
        at += file.writeSync(bytes.subarray(at));
      }
      file.syncSync();
    }
    Deno.renameSync(made, path);
    syncDirectory(directory);
  } catch (cause) {
    throw failure(directory, cause);
  }
}

function syncDirectory(directory: string): void {
  using opened = Deno.openSync(directory, { read: true });
  opened.syncSync();
}

function failure(directory: string, cause: unknown): StorageError {
  return new StorageError(
    "write-failed",
    `Cannot begin "${directory}" anew: ${causeText(cause)}`,
    { path: directory, cause },
  );
}

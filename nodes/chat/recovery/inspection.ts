/** Looks at the data directory of a node that does not run, and changes nothing in it. */

import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { StoreId } from "../../../protocol/epoch.ts";
import type { NodeId } from "../../../protocol/ids.ts";
import type { LogPosition } from "../../../protocol/replica.ts";
import type { AcceptorState, NodeKind } from "../../../protocol/view.ts";
import { AcceptorFile } from "../../../storage/acceptor_file.ts";
import { type Disk, LocalDisk } from "../../../storage/disk.ts";
import { causeText, StorageError } from "../../../storage/errors.ts";
import { OverlayDisk } from "../../../storage/overlay_disk.ts";
import { segmentNumbers } from "../../../storage/segment_files.ts";
import type { LogDamage } from "../../../storage/segment_loader.ts";
import { SegmentLog } from "../../../storage/segment_log.ts";
import { SnapshotReader } from "../../../storage/snapshot_reader.ts";
import { STATE_NAME } from "../open_storage.ts";
import { StateDatabase } from "../state/state_database.ts";
import {
  APPLICATION_ID,
  SCHEMA_VERSION,
  type StateMark,
} from "../state/state_schema.ts";

/** What is in a data directory, as the node would find it at its next start. */
export interface Inspection {
  readonly directory: string;
  /** What the directory belongs to, by its view, or else by its files. */
  readonly kind: NodeKind;
  /** The node's name, where the view knows it. */
  readonly id: NodeId | undefined;
  readonly votes: InspectedVotes;
  readonly log: InspectedLog;
  readonly state: InspectedState;
  /** What the newest snapshot stands for. */
  readonly snapshot: LogPosition | undefined;
  /** Why newer snapshots cannot be used; sentences. */
  readonly badSnapshots: readonly string[];
}

/** The directory's store, and what it has promised and accepted. */
export interface InspectedVotes extends AcceptorState {
  /** `undefined`: the votes are missing or damaged, and the next start draws one. */
  readonly store: StoreId | undefined;
  /** Why there is none; a sentence. Empty if nothing is wrong. */
  readonly reason: string;
}

/** The log, up to where it can be read. */
export interface InspectedLog {
  readonly isThere: boolean;
  readonly base: LogPosition;
  readonly last: LogPosition;
  readonly damage: LogDamage | undefined;
}

/** The state's file. */
export interface InspectedState {
  /** `undefined`: it is not there, or cannot be used. */
  readonly mark: StateMark | undefined;
  /** Why it cannot be used; empty if it can, or is not there. */
  readonly reason: string;
}

/**
 * Reads all there is, as an opening would, with all changes kept in memory.
 *
 * @param directory There, and locked by this process.
 * @throws {StorageError} `wrong-format`, `open-failed`: nothing can be said.
 */
export async function inspectDirectory(directory: string): Promise<Inspection> {
  const disk = new OverlayDisk(new LocalDisk());
  const isThere = segmentNumbers(disk, directory).length > 0;
  const { log, damage } = await SegmentLog.open(disk, directory);
  const { base, lastIndex, shape } = log;
  const lastEpoch = shape.runs.at(-1)?.epoch ?? base.epoch;
  await log.close();
  const state = readState(join(directory, STATE_NAME));
  const { file, origin, reason = "" } = await AcceptorFile.open(
    disk,
    directory,
    {
      hasLog: damage !== undefined || lastIndex > 0 ||
        (state.mark?.index ?? 0) > 0,
    },
  );
  const { store, state: acceptor } = file;
  await file.close();
  const { snapshot, reasons } = newestSnapshot(disk, directory);
  const node = acceptor.accepted?.nodes[store];
  const hasData = isThere || state.mark !== undefined || state.reason !== "" ||
    snapshot !== undefined;
  return {
    directory,
    kind: node?.kind ?? (hasData || origin === "new" ? "server" : "witness"),
    id: node?.id,
    votes: {
      ...acceptor,
      store: origin === undefined ? store : undefined,
      reason,
    },
    log: {
      isThere,
      base,
      last: { index: lastIndex, epoch: lastEpoch },
      damage,
    },
    state,
    snapshot,
    badSnapshots: reasons,
  };
}

/** What of the data can be served: its last index, and up to where it is committed. */
export interface Reach {
  /** The last index of all that can be read; 0 if nothing can. */
  readonly lastIndex: number;
  /** All up to here is known to have been committed. */
  readonly committedIndex: number;
}

/**
 * How far the data reach.
 *
 * @returns `undefined` if the log begins behind what state and snapshot have.
 */
export function reachOf(inspection: Inspection): Reach | undefined {
  const { log, state, snapshot } = inspection;
  const appliedIndex = state.mark?.index ?? 0;
  const stateIndex = Math.max(appliedIndex, snapshot?.index ?? 0);
  if (log.base.index > stateIndex) return undefined;
  return {
    lastIndex: Math.max(log.last.index, stateIndex),
    committedIndex: stateIndex,
  };
}

/** The snapshot that a start would use, read from end to end. */
function newestSnapshot(
  disk: Disk,
  directory: string,
): { snapshot: LogPosition | undefined; reasons: string[] } {
  const { snapshot, damaged } = SnapshotReader.newest(disk, directory);
  const reasons = damaged.map(({ message }) => message);
  try {
    snapshot?.verify();
    return { snapshot: snapshot?.position, reasons };
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    return { snapshot: undefined, reasons: [error.message, ...reasons] };
  } finally {
    snapshot?.close();
  }
}

function readState(path: string): InspectedState {
  let connection: DatabaseSync | undefined;
  try {
    if (!isFile(path)) return { mark: undefined, reason: "" };
    connection = new DatabaseSync(path, { readOnly: true });
    const { application_id: id } =
      connection.prepare("pragma application_id").get() ?? {};
    const { user_version: version } =
      connection.prepare("pragma user_version").get() ?? {};
    if (id !== APPLICATION_ID || version !== SCHEMA_VERSION) {
      throw new Error(
        `it is a database of kind ${id} and version ${version}, ` +
          `wanted ${APPLICATION_ID} and ${SCHEMA_VERSION}`,
      );
    }
    const { quick_check: verdict } =
      connection.prepare("pragma quick_check(1)").get() ?? {};
    if (verdict !== "ok") throw new Error(String(verdict));
    return { mark: new StateDatabase(connection).mark(), reason: "" };
  } catch (error) {
    return {
      mark: undefined,
      reason: `Cannot read "${path}": ${causeText(error)}`,
    };
  } finally {
    connection?.close();
  }
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Opens what a server keeps on disk, and mends what a crash or a rotten disk has left. */

import { join } from "node:path";
import { AcceptorFile } from "../../storage/acceptor_file.ts";
import { type Disk, LocalDisk } from "../../storage/disk.ts";
import { SegmentLog } from "../../storage/segment_log.ts";
import type { Log } from "../host/log.ts";
import { LOG_START } from "./replica/log_index.ts";
import { Snapshots } from "./state/snapshots.ts";
import { ChatState } from "./state/state.ts";

/** Zeros written ahead of the log's end, in bytes: a sync then takes half as long. */
const AHEAD_BYTES = 1_048_576;

/** The name of the state's file in a data directory. */
export const STATE_NAME = "state.db";

/** What a server keeps on disk, opened and in agreement with itself. */
export interface ChatStorage {
  readonly acceptor: AcceptorFile;
  readonly log: SegmentLog;
  readonly state: ChatState;
  readonly snapshots: Snapshots;
}

/**
 * Opens all files of a directory that this process has locked.
 *
 * @param options `segmentBytes`: at which size a file of the log ends.
 * @throws {StorageError} `wrong-format`, `open-failed`: refuse to start.
 * `write-failed`: exit.
 */
export async function openStorage(
  options: { directory: string; segmentBytes: number; journal: Log },
): Promise<ChatStorage> {
  const { directory: data, segmentBytes, journal } = options;
  const disk: Disk = new LocalDisk();
  const segments = await SegmentLog.open(disk, data, {
    segmentBytesMax: segmentBytes,
    aheadBytes: AHEAD_BYTES,
  });
  const { log, damage, cutBytes } = segments;
  if (cutBytes > 0) {
    journal.warn("Cut a torn end off the log", { bytes: cutBytes });
  }
  const state = ChatState.open(join(data, STATE_NAME));
  if (state.opened.reason !== "") {
    journal.warn(`The state is rebuilt: ${state.opened.reason}`);
  }
  const acceptor = await openAcceptor(disk, data, {
    hasLog: damage !== undefined || log.lastIndex > 0 ||
      state.applied.index > 0,
    journal,
  });
  const snapshots = new Snapshots({
    disk,
    directory: data,
    state,
    log,
    segmentBytes,
    journal,
  });
  // What was acknowledged is gone: said durably before anything is changed.
  const hasLost = segments.created && acceptor.state.accepted !== undefined;
  if (damage !== undefined || hasLost) {
    journal.error(
      "The log is damaged: this server repairs itself from others",
      {
        ...damage ?? { reason: "its files are missing" },
      },
    );
    acceptor.saveNow({ ...acceptor.state, isDamaged: true });
    if (damage !== undefined) await log.dropDamaged();
  }
  if (state.applied.index < log.base.index) await snapshots.restore();
  if (state.applied.index < log.base.index) {
    journal.error("No snapshot fits the log: this server begins anew");
    acceptor.saveNow({ ...acceptor.state, isDamaged: true });
    await log.reset(LOG_START);
  } else if (state.applied.index > log.lastIndex) {
    // A snapshot was being installed, or the log lost its end.
    acceptor.saveNow({ ...acceptor.state, isDamaged: true });
    await log.reset(state.applied);
  }
  return { acceptor, log, state, snapshots };
}

async function openAcceptor(
  disk: Disk,
  directory: string,
  options: { hasLog: boolean; journal: Log },
): Promise<AcceptorFile> {
  const { hasLog, journal } = options;
  const { file, reason, cutBytes } = await AcceptorFile.open(disk, directory, {
    hasLog,
  });
  if (reason !== undefined) journal.error(`This is a new store: ${reason}`);
  if (cutBytes > 0) {
    journal.warn("Cut a torn end off the votes", { bytes: cutBytes });
  }
  return file;
}

/** `skein-chat recover`: what a stopped node's data are worth, and a group begun anew from them. */

import type { Epoch } from "../../../protocol/epoch.ts";
import type { NodeId } from "../../../protocol/ids.ts";
import { DirectoryLock } from "../../../storage/directory_lock.ts";
import { StorageError } from "../../../storage/errors.ts";
import { SEGMENT_BYTES_MAX } from "../../../storage/segment_log.ts";
import { orExit } from "../../host/flags.ts";
import type { Log } from "../../host/log.ts";
import { recoveredVotes } from "./forced_view.ts";
import {
  inspectDirectory,
  type Inspection,
  type Reach,
  reachOf,
} from "./inspection.ts";
import { openStorage } from "../open_storage.ts";
import { parseRecoverFlags, type RecoverFlags } from "./recover_flags.ts";
import { isInSync, nextSteps, othersOf, reportOn } from "./recover_report.ts";

/** Exit codes: done; nothing was changed; wrong flags are 2. */
const EXIT_DONE = 0;
const EXIT_REFUSED = 1;

/** A reason not to recover, for the operator; nothing was changed. */
export class RecoverError extends Error {
  override readonly name = "RecoverError";
}

/** How the command speaks with whoever started it. */
export interface Operator {
  /** A line of the report. */
  say(line: string): void;
  /** Asks for a word; `undefined`: there is nobody to ask. */
  ask(question: string): string | undefined;
}

/** Runs the command, and exits. */
export async function main(args: readonly string[]): Promise<void> {
  const flags = orExit(() => parseRecoverFlags(args, Deno.env));
  try {
    await recover(flags, {
      say: (line) => console.log(line),
      ask: (question) =>
        Deno.stdin.isTerminal() ? prompt(question) ?? "" : undefined,
    });
    Deno.exit(EXIT_DONE);
  } catch (error) {
    const isTold = error instanceof RecoverError ||
      error instanceof StorageError;
    if (!isTold) throw error;
    console.error(`skein-chat recover: ${error.message}`);
    Deno.exit(EXIT_REFUSED);
  }
}

/**
 * Looks at a directory, and recovers it if it is told to.
 *
 * @throws {RecoverError} It does not make sense, or is not wanted.
 * @throws {StorageError} `locked`: stop the node first. `wrong-format`,
 * `open-failed`: nothing can be said. `write-failed`: run it again when there
 * is a disk that takes writes.
 */
export async function recover(
  flags: RecoverFlags,
  operator: Operator,
): Promise<void> {
  const { data } = flags;
  // The lock would make it.
  assertDirectory(data);
  using lock = DirectoryLock.acquire(data);
  const inspection = await inspectDirectory(data);
  for (const line of reportOn(inspection)) operator.say(line);
  if (!flags.force) return;
  operator.say("");
  const { id, reach } = survivorOf(inspection, flags.id);
  for (const line of warningsOf(inspection, reach)) operator.say(line);
  if (!flags.yes) confirm(operator, id);
  const epoch = await force(lock, { id, reach });
  operator.say("");
  const what = { id, epoch, reach };
  for (const line of nextSteps(inspection, what)) operator.say(line);
}

/** Who would go on alone, and with what. */
function survivorOf(
  inspection: Inspection,
  given: NodeId | undefined,
): { id: NodeId; reach: Reach } {
  const { directory, kind, log } = inspection;
  const cannot = `Cannot recover from "${directory}"`;
  if (kind === "witness") {
    throw new RecoverError(`${cannot}: it is a witness's and has no messages`);
  }
  const reach = reachOf(inspection);
  if (reach === undefined) {
    throw new RecoverError(
      `${cannot}: its log begins after entry ${log.base.index}, and neither state nor snapshot come so far; take another server, or move its log-*.log away to go on with the state alone`,
    );
  }
  if (reach.lastIndex === 0) {
    throw new RecoverError(
      `${cannot}: it holds nothing; to begin with nothing, start all nodes with empty directories`,
    );
  }
  const id = inspection.id ?? given;
  if (id === undefined) {
    throw new RecoverError(
      `${cannot}: its view does not say which server it is; add "--id NAME"`,
    );
  }
  if (given !== undefined && given !== id) {
    throw new RecoverError(
      `${cannot}: it is the directory of ${id}, wanted that of ${given}`,
    );
  }
  return { id, reach };
}

function warningsOf(inspection: Inspection, reach: Reach): string[] {
  const others = othersOf(inspection);
  const who = others.length > 0 ? ` (${others.join(", ")})` : "";
  const warnings = [
    `WARNING: by force this server goes on alone, with all up to index ${reach.lastIndex}. What only others${who} have is lost for good, even if it was acknowledged.`,
    "WARNING: if a majority of them can still be started, start them instead.",
  ];
  if (!isInSync(inspection)) {
    warnings.push(
      "WARNING: these data are not known to be whole; from now on they count as whole.",
    );
  }
  return warnings;
}

function confirm(operator: Operator, id: NodeId): void {
  const answer = operator.ask(`Type the server's name, ${id}, to do it:`);
  if (answer === undefined) {
    throw new RecoverError(
      'Nothing was changed: there is no terminal to ask at; add "--yes"',
    );
  }
  if (answer.trim() !== id) {
    throw new RecoverError(
      `Nothing was changed: the answer was "${answer}", wanted "${id}"`,
    );
  }
}

/**
 * Mends what the next start would mend, and writes the new view; a crash
 * before the end leaves the directory as a start would.
 *
 * @returns The epoch of the view.
 */
async function force(
  lock: DirectoryLock,
  survivor: { id: NodeId; reach: Reach },
): Promise<Epoch> {
  const { id, reach } = survivor;
  const storage = await openStorage({
    directory: lock.directory,
    segmentBytes: SEGMENT_BYTES_MAX,
    journal: SILENT,
  });
  const { acceptor, log, state, snapshots } = storage;
  try {
    // A server with others would get from them what it does not find in its log.
    if (log.lastIndex < reach.lastIndex) {
      await snapshots.restore();
      const { applied } = state;
      if (applied.index === reach.lastIndex) await log.reset(applied);
    }
    if (log.lastIndex !== reach.lastIndex) {
      throw new RecoverError(
        `Cannot recover from "${lock.directory}": it turned out to reach to index ${log.lastIndex}, wanted ${reach.lastIndex}; look at it again without "--force"`,
      );
    }
    const { base, shape } = log;
    const votes = recoveredVotes({
      store: acceptor.store,
      id,
      votes: acceptor.state,
      epochs: [
        base.epoch,
        state.applied.epoch,
        ...shape.runs.map(({ epoch }) => epoch),
      ],
    });
    acceptor.saveNow(votes);
    return votes.promised;
  } finally {
    await snapshots.close();
    await state.close();
    await log.close();
    await acceptor.close();
  }
}

/** The report has said it all, in other words. */
const SILENT: Log = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
};

function assertDirectory(path: string): void {
  try {
    if (Deno.statSync(path).isDirectory) return;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  throw new RecoverError(`There is no directory "${path}"`);
}

/** What the system says of a shared log: its file system, its locks, who holds one. */

import { statfsSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { causeText, StorageError } from "./errors.ts";

/** A file, wherever it may have been moved to. */
export interface FileIdentity {
  readonly dev: number;
  /** 0 where the system has none. */
  readonly ino: number;
  /** Tells files apart where they have no number. */
  readonly birthMs: number;
}

/** The process that holds a lock. */
export interface LockHolder {
  readonly pid: number;
  /** Its command, at most 15 bytes; `?` where it is not told. */
  readonly command: string;
  /** By SIGSTOP, or a debugger: it will not go on by itself. */
  readonly isStopped: boolean;
}

/** Of file systems whose files other machines, or programs, see as well. */
const NETWORK_TYPE =
  /^(?:nfs\d?|cifs|smbfs|smb3|9p|fuse(?:\..+)?|glusterfs|ceph|afs|lustre|vboxsf|vmhgfs|gfs2|ocfs2|beegfs|virtiofs)$/;

/** The same by number, for those who may not read mountinfo: statfs(2). */
const NETWORK_MAGIC: ReadonlyMap<number, string> = new Map([
  [0x6969, "nfs"],
  [0xff534d42, "cifs"],
  [0xfe534d42, "smb3"],
  [0x517b, "smbfs"],
  [0x01021997, "9p"],
  [0x65735546, "fuse"],
  [0x00c36400, "ceph"],
  [0x5346414f, "afs"],
  [0x6b414653, "afs"],
  [0x0bd00bd0, "lustre"],
  [0x786f4256, "vboxsf"],
  [0x01161970, "gfs2"],
  [0x7461636f, "ocfs2"],
]);

/** The identity of an open file, or of what a path leads to. */
export function identityOf(info: Deno.FileInfo): FileIdentity {
  return {
    dev: info.dev,
    ino: info.ino ?? 0,
    birthMs: info.ino === null ? info.birthtime?.getTime() ?? 0 : 0,
  };
}

/** Whether both are the same file. */
export function isSameFile(a: FileIdentity, b: FileIdentity): boolean {
  return a.ino === b.ino && a.dev === b.dev && a.birthMs === b.birthMs;
}

/**
 * The type of the network file system that a path is on. Only Linux tells, and
 * only those who may read /proc/self/mountinfo (in Deno: with all permissions)
 * or ask `statfs`.
 *
 * @returns `undefined`: it is none, or nobody tells.
 */
export function networkFileSystem(path: string): string | undefined {
  if (Deno.build.os !== "linux") return undefined;
  const type = mountedType(path);
  if (type !== undefined) return NETWORK_TYPE.test(type) ? type : undefined;
  try {
    return NETWORK_MAGIC.get(Number(statfsSync(path).type));
  } catch {
    return undefined; // Not permitted: then nobody tells.
  }
}

/** The type in the row of mountinfo that is for this path; `undefined`: unreadable. */
function mountedType(path: string): string | undefined {
  try {
    const real = Deno.realPathSync(path);
    return typeInMountinfo(
      Deno.readTextFileSync("/proc/self/mountinfo"),
      real,
    );
  } catch {
    return undefined;
  }
}

/**
 * Which type the file system at `path` has.
 *
 * @param mountinfo As proc_pid_mountinfo(5) has it.
 * @param path Absolute, without links.
 */
export function typeInMountinfo(
  mountinfo: string,
  path: string,
): string | undefined {
  let type: string | undefined;
  let longest = -1;
  for (const row of mountinfo.split("\n")) {
    const [left, right] = row.split(" - ");
    const point = left.split(" ")[4]?.replaceAll(
      /\\([0-7]{3})/g,
      (_, octal: string) => String.fromCharCode(parseInt(octal, 8)),
    );
    if (point === undefined || right === undefined) continue;
    const isAbove = point === "/" || path === point ||
      path.startsWith(`${point}/`);
    // A later mount at the same point hides the earlier one.
    if (!isAbove || point.length < longest) continue;
    longest = point.length;
    type = right.split(" ")[0];
  }
  return type;
}

/**
 * Makes sure that a lock keeps others out, with a file of its own beside
 * `path`: nobody who uses the log is disturbed.
 *
 * @throws {StorageError} `open-failed`: locks do not work here; refuse to start.
 */
export function checkLocks(path: string): void {
  const probe = join(
    dirname(path),
    `.${basename(path)}.lock-probe-${crypto.randomUUID()}`,
  );
  let excludes: boolean;
  try {
    excludes = excludesOthers(probe);
  } catch (cause) {
    throw new StorageError(
      "open-failed",
      `Cannot lock files beside "${path}": ${causeText(cause)}`,
      { path, cause },
    );
  }
  if (excludes) return;
  throw new StorageError(
    "open-failed",
    `Cannot share "${path}": its file system grants the same exclusive lock twice; choose a local one`,
    { path },
  );
}

function excludesOthers(probe: string): boolean {
  using first = Deno.openSync(probe, {
    read: true,
    write: true,
    createNew: true,
    mode: 0o600,
  });
  try {
    using second = Deno.openSync(probe, { read: true, write: true });
    return first.tryLockSync(true) && !second.tryLockSync(true);
  } finally {
    Deno.removeSync(probe);
  }
}

/**
 * Who holds the lock of a file. Only Linux tells, and only those who may read
 * /proc (in Deno: with all permissions).
 */
export function lockHolder(file: FileIdentity): LockHolder | undefined {
  if (Deno.build.os !== "linux") return undefined;
  try {
    const pid = holderInLocks(Deno.readTextFileSync("/proc/locks"), file);
    // 0: a process that this one may not see, in another container.
    if (pid === undefined || pid <= 0) return undefined;
    return { pid, ...commandOf(pid) };
  } catch {
    return undefined;
  }
}

/** The process with the exclusive flock(2) of a file, in proc_locks(5). */
export function holderInLocks(
  locks: string,
  file: FileIdentity,
): number | undefined {
  let found: number | undefined;
  for (const row of locks.split("\n")) {
    // A row with "->" is of one who waits.
    const match =
      /^\d+: FLOCK +\S+ +WRITE +(-?\d+) +([0-9a-f]+):([0-9a-f]+):(\d+) /.exec(
        row,
      );
    if (match === null || Number(match[4]) !== file.ino) continue;
    found ??= Number(match[1]);
    // Some file systems show another device to stat(2): there the number of
    // the file alone must do.
    const device = makeDevice(parseInt(match[2], 16), parseInt(match[3], 16));
    if (device === file.dev) return Number(match[1]);
  }
  return found;
}

/** As makedev(3). */
function makeDevice(major: number, minor: number): number {
  return (minor & 0xff) + (major & 0xfff) * 0x100 +
    (minor >>> 8) * 0x100000;
}

function commandOf(pid: number): Omit<LockHolder, "pid"> {
  try {
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    const end = stat.lastIndexOf(")");
    return {
      command: stat.slice(stat.indexOf("(") + 1, end),
      isStopped: /^[Tt]/.test(stat.slice(end + 2)),
    };
  } catch {
    return { command: "?", isStopped: false };
  }
}

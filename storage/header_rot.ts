/** Tells a rotten file header from one of another version or kind. */

import { crc32c } from "./crc32c.ts";
import type { Disk } from "./disk.ts";
import { StorageError } from "./errors.ts";
import { FILE_HEADER_BYTES, FORMAT_VERSION } from "./record_format.ts";

/** Whether an error says that a file, which may have a rotten header, is damaged. */
export function isDamage(disk: Disk, error: unknown): error is StorageError {
  if (!(error instanceof StorageError)) return false;
  if (error.code === "damaged") return true;
  // A position is one of a record: whole, and not known to this version.
  return error.code === "wrong-format" && error.position === undefined &&
    isHeaderRotten(disk, error.path);
}

/**
 * Whether a record file that is refused as `wrong-format` was one of ours once:
 * a file gets its name only together with a whole header. A header of another
 * version, or a good one of another kind, is not rotten: somebody put it there.
 */
function isHeaderRotten(disk: Disk, path: string): boolean {
  const handle = disk.open(path);
  if (handle === undefined) return true;
  const bytes = new Uint8Array(FILE_HEADER_BYTES);
  try {
    if (handle.read(bytes, 0) < FILE_HEADER_BYTES) return true;
  } finally {
    handle.close();
  }
  if (new TextDecoder("latin1").decode(bytes.subarray(0, 3)) !== "SKN") {
    return true;
  }
  // In another version everything may differ after its number; a header that is
  // right but for that number is rotten.
  const isOtherVersion = bytes[3] !== FORMAT_VERSION;
  bytes[3] = FORMAT_VERSION;
  const checksum = new DataView(bytes.buffer).getUint32(12);
  return isOtherVersion && crc32c(bytes.subarray(0, 12)) === checksum;
}

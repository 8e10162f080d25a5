/** The cluster key: whoever has it belongs to the cluster. */

import { type FlagTable, optionalFlag, variableOnly } from "./flag_table.ts";
import type { ParsedFlags } from "./flags.ts";
import { path } from "./flag_values.ts";
import { readSmallFile } from "./small_file.ts";

/** Bytes of a key; shorter ones can be guessed. */
export const CLUSTER_KEY_BYTES_MIN = 16;
export const CLUSTER_KEY_BYTES_MAX = 1_024;

const KEY_FILE_BYTES_MAX = 64 * 1024;

/** The part of a program's flags that sets the key. */
export const clusterKeyFlags = {
  keyFile: optionalFlag({
    names: ["--key-file"],
    value: path("file"),
    about:
      "The cluster key: the file's first line, 16 to 1024 bytes. Or the key itself in SKEIN_KEY, which has no flag because others can see flags.",
    variable: "SKEIN_KEY_FILE",
  }),
  keyText: variableOnly({
    variable: "SKEIN_KEY",
    // Checked with the key from a file, by errors that do not show it.
    value: { metavar: "KEY", parse: (text) => text, format: () => "(key)" },
  }),
} as const satisfies FlagTable;

/** A key, and what its owner should know. */
export interface ClusterKey {
  /** The key's text in UTF-8, without white space at its ends. */
  readonly key: Uint8Array | undefined;
  readonly warnings: readonly string[];
}

/**
 * Reads the key that the flags or the environment name, if any. A flag counts
 * before the environment, that before `.env`; both kinds in one place are a
 * contradiction.
 *
 * @throws {FlagsExit} When there is no such file, or its key cannot be used.
 */
export function readClusterKey(
  flags: ParsedFlags<typeof clusterKeyFlags>,
): ClusterKey {
  try {
    return chooseKey(flags);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw flags.refusal(error.message);
  }
}

function chooseKey(flags: ParsedFlags<typeof clusterKeyFlags>): ClusterKey {
  const { keyFile, keyText } = flags.values;
  if (keyText === undefined) {
    return keyFile === undefined
      ? { key: undefined, warnings: [] }
      : readKeyFile(keyFile);
  }
  const [fileRank, textRank] = [rank(flags, "keyFile"), rank(flags, "keyText")];
  if (keyFile !== undefined && fileRank === textRank) {
    throw new RangeError(
      `${flags.said("keyFile")} and ${
        flags.said("keyText")
      } both set the cluster key`,
    );
  }
  if (keyFile !== undefined && fileRank < textRank) return readKeyFile(keyFile);
  const isOpen = flags.source("keyText") === "file" &&
    readSmallFile(flags.envFile, { bytesMax: KEY_FILE_BYTES_MAX })
      .isReadableByAll;
  return {
    key: keyBytes(keyText, flags.said("keyText")),
    warnings: isOpen ? [openWarning(flags.envFile)] : [],
  };
}

function rank(
  flags: ParsedFlags<typeof clusterKeyFlags>,
  name: keyof typeof clusterKeyFlags,
): number {
  return ["flag", "environment", "file", "default"]
    .indexOf(flags.source(name));
}

function readKeyFile(file: string): ClusterKey {
  const { bytes, isReadableByAll } = readSmallFile(file, {
    bytesMax: KEY_FILE_BYTES_MAX,
  });
  const lineEnd = bytes.indexOf(0x0a);
  const line = lineEnd < 0 ? bytes : bytes.subarray(0, lineEnd);
  return {
    key: keyBytes(decode(line, file), `"${file}"`),
    warnings: isReadableByAll ? [openWarning(file)] : [],
  };
}

function openWarning(file: string): string {
  return `Every user of this machine can read the cluster key in "${file}"`;
}

function decode(line: Uint8Array, file: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(line);
  } catch (cause) {
    // Not hashed or cut at a chance line end: two tools would disagree on it.
    throw new RangeError(
      `Cannot use the cluster key in "${file}": it is not text; "openssl rand -base64 32" makes one`,
      { cause },
    );
  }
}

function keyBytes(text: string, where: string): Uint8Array {
  const bytes = new TextEncoder().encode(text.trim());
  if (
    bytes.length < CLUSTER_KEY_BYTES_MIN ||
    bytes.length > CLUSTER_KEY_BYTES_MAX
  ) {
    throw new RangeError(
      `Cannot use the cluster key in ${where}: it has ${bytes.length} bytes, wanted ${CLUSTER_KEY_BYTES_MIN} to ${CLUSTER_KEY_BYTES_MAX}`,
    );
  }
  return bytes;
}

/** Executables made of a shell header, a runtime and a program, in one file. */

import { createHash } from "node:crypto";
import { promisify } from "node:util";
import { gzip } from "node:zlib";

/** The header is filled up to this length, so that offsets are known before it is written. */
const HEADER_BYTES = 4_096;
const HASH_CHARACTERS = 32; // 128 bits: nobody meets another content by chance

/** A file as it lies in an executable. */
export interface Packed {
  /** Its name once unpacked. */
  readonly name: string;
  /** Of the content: the same content is unpacked once for all executables. */
  readonly hash: string;
  /** Unpacked length in bytes. */
  readonly size: number;
  /** What `gzip -dc` turns back into the content. */
  readonly bytes: Uint8Array;
}

/** Packs one file's content. */
export async function pack(name: string, content: Uint8Array): Promise<Packed> {
  return {
    name,
    hash: createHash("sha256").update(content).digest("hex")
      .slice(0, HASH_CHARACTERS),
    size: content.length,
    bytes: await promisify(gzip)(content),
  };
}

/** What a self-extracting executable is made of. */
export interface SelfExtracting {
  /** What it calls itself in errors; letters, digits and `-`. */
  readonly name: string;
  readonly runtime: Packed;
  readonly program: Packed;
  /** Flags of `deno run`: permissions and the like. */
  readonly flags: readonly string[];
  /** Arguments that come before the user's own. */
  readonly arguments: readonly string[];
}

/**
 * Lays out an executable that needs `sh`, `tail`, `head`, `gzip` and the usual
 * file commands where it runs.
 *
 * It unpacks to `${XDG_CACHE_HOME:-$HOME/.cache}/skein`, else to a folder of
 * its user under `TMPDIR`, once for each content, and becomes the runtime by
 * `exec`: signals, standard input and the exit code are those of one process.
 *
 * @returns The parts of the file, in order.
 */
export function selfExtracting(parts: SelfExtracting): Uint8Array[] {
  const header = new TextEncoder().encode(headerOf(parts));
  if (header.length > HEADER_BYTES) {
    throw new Error(
      `Cannot make ${parts.name}: its header has ${header.length} bytes, limit is ${HEADER_BYTES}`,
    );
  }
  const padded = new Uint8Array(HEADER_BYTES).fill("\n".charCodeAt(0));
  padded.set(header);
  return [padded, parts.program.bytes, parts.runtime.bytes];
}

function headerOf({ name, runtime, program, ...rest }: SelfExtracting): string {
  const programStart = HEADER_BYTES + 1; // `tail -c +N` counts from 1
  const runtimeStart = programStart + program.bytes.length;
  const unpack = (packed: Packed, start: number) =>
    `unpack ${packed.hash} ${packed.name} ${packed.size} ${start} ${packed.bytes.length}`;
  const words = [
    "run",
    ...rest.flags,
    `"$folder/${program.hash}/${program.name}"`,
    ...rest.arguments,
  ].map((word) => word.startsWith('"') ? word : quote(word));
  return `#!/bin/sh
# ${name}, part of Skein: a runtime and a program, packed, after this script.
set -u
file_mode=$(umask)
umask 077

fail() {
  printf '%s: %s\\n' ${quote(name)} "$1" >&2
  exit 1
}

# Takes the first folder that can be made. What lies in it is run: so it must
# be this user's, and nobody else may write to it.
folder=
use() {
  [ -z "$folder" ] || return 0
  case $1 in /*) ;; *) return 0 ;; esac
  mkdir -p "$1" 2>/dev/null || [ -e "$1" ] || return 0
  case $(ls -ldn "$1") in d????-??-*) ;; *)
    fail "Cannot use $1: wanted a folder that only its owner may write to" ;;
  esac
  [ -O "$1" ] || fail "Cannot use $1: it belongs to another user; set XDG_CACHE_HOME"
  folder=$1
}
[ -z "\${XDG_CACHE_HOME:-}" ] || use "$XDG_CACHE_HOME/skein"
[ -z "\${HOME:-}" ] || use "$HOME/.cache/skein"
use "\${TMPDIR:-/tmp}/skein-$(id -u)"
[ -n "$folder" ] || fail "Cannot make a folder to unpack to; set XDG_CACHE_HOME"

size_of() {
  set -- $(ls -ln "$1" 2>/dev/null)
  printf '%s' "\${5:-}"
}

# unpack HASH NAME SIZE START LENGTH. Two that start at once both unpack, each
# on its own; the rename puts whole files only in place.
temporary=
unpack() {
  [ "$(size_of "$folder/$1/$2")" != "$3" ] || return 0
  temporary=$(mktemp -d "$folder/unpacking.XXXXXX") ||
    fail "Cannot write to $folder"
  trap 'rm -rf "$temporary"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  tail -c "+$4" <"$0" | head -c "$5" | gzip -dc >"$temporary/$2" &&
    [ "$(size_of "$temporary/$2")" = "$3" ] ||
    fail "Cannot unpack to $folder: no space is left, or $0 is cut short"
  chmod 700 "$temporary/$2" && mkdir -p "$folder/$1" &&
    mv -f "$temporary/$2" "$folder/$1/$2" && rmdir "$temporary" ||
    fail "Cannot write to $folder/$1"
  trap - EXIT INT TERM HUP
}
${unpack(runtime, runtimeStart)}
${unpack(program, programStart)}

umask "$file_mode"
# Nothing is looked for or kept outside that folder.
export DENO_DIR="$folder/deno" DENO_NO_UPDATE_CHECK=1 DENO_NO_PACKAGE_JSON=1
exec "$folder/${runtime.hash}/${runtime.name}" ${words.join(" ")} "$@"
exit 1
`;
}

/** One word for a POSIX shell. */
function quote(word: string): string {
  return /^[\w./:=-]+$/.test(word)
    ? word
    : `'${word.replaceAll("'", `'\\''`)}'`;
}

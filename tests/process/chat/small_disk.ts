/** A file system of its own that is soon full: a tmpfs. */

import { statfsSync } from "node:fs";

const FILLER_BYTES = 4_096;

/** Mounted until it is disposed of. */
export class SmallDisk implements Disposable {
  readonly path = Deno.makeTempDirSync({ prefix: "skein-disk-" });

  /** @throws {Error} It cannot be mounted here. */
  constructor(bytes: number) {
    try {
      run("mount", "-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", this.path);
    } catch (error) {
      Deno.removeSync(this.path);
      throw error;
    }
  }

  /** Fills it until no more than so many bytes are free. */
  fill(freeBytes: number): void {
    const { bavail, bsize } = statfsSync(this.path);
    const count = Math.max(0, bavail * bsize - freeBytes);
    using file = Deno.openSync(this.#filler, { create: true, append: true });
    const part = new Uint8Array(FILLER_BYTES);
    try {
      for (let at = 0; at < count; at += part.length) file.writeSync(part);
    } catch (error) {
      // Somebody else wrote as well, and it is full already.
      if (!isFull(error)) throw error;
    }
  }

  /** Removes what {@linkcode fill} made. */
  clear(): void {
    Deno.removeSync(this.#filler);
  }

  [Symbol.dispose](): void {
    run("umount", this.path);
    Deno.removeSync(this.path);
  }

  get #filler(): string {
    return `${this.path}/filler`;
  }
}

/** Why there can be no {@linkcode SmallDisk} here; undefined when there can. */
export function smallDiskMissing(): string | undefined {
  if (Deno.build.os !== "linux") return "not on Linux";
  if (Deno.uid() !== 0) return "not root";
  try {
    using _disk = new SmallDisk(65_536);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function isFull(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOSPC";
}

function run(command: string, ...args: string[]): void {
  const { success, stderr } = new Deno.Command(command, {
    args,
    stdin: "null",
    stdout: "null",
  }).outputSync();
  if (success) return;
  const text = new TextDecoder().decode(stderr).trim();
  throw new Error(`Cannot "${command} ${args.join(" ")}": ${text}`);
}

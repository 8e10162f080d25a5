/** Where the tail delivers messages: standard output, or a file. */

import { StorageError } from "../../storage/errors.ts";
import { StandardOutput } from "../host/byte_sink.ts";
import { escapeText } from "../host/text.ts";

/** Takes messages in order; nothing is acknowledged before it has them. */
export interface Output {
  /** Puts whole lines out; nothing to wait for when it returns undefined. */
  put(bytes: readonly Uint8Array[]): Promise<void> | undefined;
  /** Bytes put out so far, counted as the file's size where there is one. */
  readonly size: number;
  /** Resolves when what was put out survives power loss. */
  sync(): Promise<void>;
  close(): void;
}

/** Messages as they are; on a terminal without what could move its cursor. */
export class StandardOutputOf implements Output {
  size = 0;
  readonly #out = new StandardOutput();
  readonly #isTerminal = Deno.stdout.isTerminal();

  put(bytes: readonly Uint8Array[]): Promise<void> | undefined {
    for (const [index, part] of bytes.entries()) {
      this.size += part.length;
      const waiting = this.#out.write(this.#isTerminal ? shown(part) : part);
      if (waiting !== undefined) return this.#rest(waiting, bytes, index + 1);
    }
    return undefined;
  }

  sync(): Promise<void> {
    return Promise.resolve();
  }

  close(): void {}

  async #rest(
    waiting: Promise<void>,
    bytes: readonly Uint8Array[],
    from: number,
  ): Promise<void> {
    await waiting;
    await this.put(bytes.slice(from));
  }
}

/** A file that is only appended to. */
export class FileOutput implements Output {
  size: number;
  readonly #path: string;
  readonly #file: Deno.FsFile;

  private constructor(path: string, file: Deno.FsFile, size: number) {
    this.#path = path;
    this.#file = file;
    this.size = size;
  }

  /**
   * Opens the file for appending.
   *
   * @param outputBytes What a progress spool says was put out; what the file
   * holds beyond it was never acknowledged, comes again, and is cut off.
   * @returns The output, and how many bytes were cut.
   * @throws {StorageError} `open-failed`, or `damaged` when the file is shorter.
   */
  static open(
    path: string,
    outputBytes: number | undefined,
  ): { output: FileOutput; cutBytes: number } {
    let file: Deno.FsFile;
    let size: number;
    try {
      file = Deno.openSync(path, { create: true, write: true, read: true });
      size = file.statSync().size;
    } catch (cause) {
      const text = cause instanceof Error ? cause.message : String(cause);
      throw new StorageError("open-failed", `Cannot open "${path}": ${text}`, {
        path,
        cause,
      });
    }
    const wanted = outputBytes ?? size;
    if (size < wanted) {
      file.close();
      throw new StorageError(
        "damaged",
        `Cannot append to "${path}": it has ${size} bytes and ${wanted} were ` +
          "delivered to it; restore it, or give another --output and --spool",
        { path, position: size },
      );
    }
    if (size > wanted) file.truncateSync(wanted);
    file.seekSync(wanted, Deno.SeekMode.Start);
    return {
      output: new FileOutput(path, file, wanted),
      cutBytes: size - wanted,
    };
  }

  put(bytes: readonly Uint8Array[]): undefined {
    try {
      for (const part of bytes) {
        for (let at = 0; at < part.length;) {
          at += this.#file.writeSync(part.subarray(at));
        }
        this.size += part.length;
      }
    } catch (cause) {
      throw this.#failed(cause);
    }
  }

  async sync(): Promise<void> {
    try {
      await this.#file.syncData();
    } catch (cause) {
      throw this.#failed(cause);
    }
  }

  close(): void {
    this.#file.close();
  }

  #failed(cause: unknown): StorageError {
    const text = cause instanceof Error ? cause.message : String(cause);
    return new StorageError(
      "write-failed",
      `Cannot write to "${this.#path}": ${text}`,
      { path: this.#path, cause },
    );
  }
}

function shown(lines: Uint8Array): Uint8Array {
  const text = new TextDecoder().decode(lines);
  return new TextEncoder().encode(
    text.split("\n").map((line) => escapeText(line)).join("\n"),
  );
}

/** Owns what a bench starts and makes, and leaves nothing behind. */

import { PortBlock } from "../deploy/port_block.ts";
import { Child } from "./child.ts";

/** Processes, ports and files, until it is closed. */
export class Workbench implements AsyncDisposable {
  readonly #children: Child[] = [];
  readonly #ports: PortBlock[] = [];
  #folder: string | undefined;
  #isClosed = false;

  /**
   * Starts a program.
   *
   * @throws {Deno.errors.NotFound} When there is none of that name.
   */
  start(
    command: string,
    options: { args: readonly string[]; isRead?: boolean },
  ): Child {
    const child = new Child(command, {
      args: options.args,
      isRead: options.isRead ?? false,
      // A `.env` where the bench was started must not configure the nodes.
      cwd: this.#openFolder(),
    });
    this.#children.push(child);
    return child;
  }

  /** Finds `count` free neighbouring ports. */
  ports(count: number): number[] {
    this.#refuseIfClosed();
    const block = PortBlock.reserve();
    this.#ports.push(block);
    return Array.from({ length: count }, (_, index) => block.base + index);
  }

  /** Writes a file of its own; returns its path. */
  write(name: string, text: string): string {
    const path = `${this.#openFolder()}/${name}`;
    Deno.writeTextFileSync(path, text);
    return path;
  }

  /** Makes an empty folder of its own, on the disk; returns its path. */
  folder(name: string): string {
    return Deno.makeTempDirSync({ dir: this.#openFolder(), prefix: name });
  }

  /** Ends all processes, then removes all files. May be called again. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(this.#children.splice(0).map((child) => child.end()));
    for (const block of this.#ports.splice(0)) block[Symbol.dispose]();
    const folder = this.#folder;
    this.#folder = undefined;
    if (folder !== undefined) await Deno.remove(folder, { recursive: true });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #openFolder(): string {
    this.#refuseIfClosed();
    return this.#folder ??= Deno.makeTempDirSync({ prefix: "skein-bench-" });
  }

  /** Whoever still works while we stop must not start anything more. */
  #refuseIfClosed(): void {
    if (this.#isClosed) throw new Error("The bench is stopping");
  }
}

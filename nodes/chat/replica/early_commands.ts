/** Commands that reach a primary in the moment before it leads. */

/** Bytes kept; what is beyond is dropped, and proposed again by whoever has it. */
const BYTES_MAX = 8_388_608;

/**
 * The others may know of a view before its primary does, and forward at once
 * what is open. Without this it would wait until they propose it again.
 */
export class EarlyCommands {
  #commands: Uint8Array[] = [];
  #bytes = 0;

  push(commands: readonly Uint8Array[]): void {
    for (const command of commands) {
      if (this.#bytes + command.length > BYTES_MAX) return;
      this.#commands.push(command);
      this.#bytes += command.length;
    }
  }

  /** All that was pushed, in order; nothing is left. */
  take(): readonly Uint8Array[] {
    const commands = this.#commands;
    this.#commands = [];
    this.#bytes = 0;
    return commands;
  }
}

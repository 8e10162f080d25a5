/** Notes of what runs, one file per fleet, so that `stop` finds it later. */

import Type from "typebox";
import { Value } from "typebox/value";
import type { ProcessId } from "./process_id.ts";

/** A process of a fleet. */
export interface NamedProcess extends ProcessId {
  readonly name: string;
}

/** What one launcher started. */
export interface FleetState {
  /** {@linkcode Fleet.name}: letters, digits and `-`. */
  readonly fleet: string;
  readonly launcher: ProcessId;
  readonly nodes: readonly NamedProcess[];
}

const PID = Type.Integer({ minimum: 1 });
const STATE = Type.Object({
  fleet: Type.String({ pattern: "^[a-z0-9-]+$" }),
  launcher: Type.Object({ pid: PID, startedAt: Type.String() }),
  nodes: Type.Array(
    Type.Object({ name: Type.String(), pid: PID, startedAt: Type.String() }),
    { maxItems: 64 },
  ),
});

/** The notes in one folder, which need not exist. */
export class FleetStates {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /**
   * Reads all notes.
   *
   * @throws {Error} A note that is not ours; says which file to delete.
   */
  read(): FleetState[] {
    const states: FleetState[] = [];
    for (const name of this.#names()) {
      const path = `${this.#folder}/${name}`;
      const text = readIfThere(path); // its launcher may end just now
      if (text !== undefined) states.push(parseState(path, text));
    }
    return states;
  }

  /** Writes or replaces the note of one fleet, whole or not at all. */
  write(state: FleetState): void {
    Deno.mkdirSync(this.#folder, { recursive: true });
    const path = this.#path(state.fleet);
    const temporary = `${path}.${Deno.pid}`;
    Deno.writeTextFileSync(temporary, JSON.stringify(state, null, 2) + "\n");
    Deno.renameSync(temporary, path);
  }

  /** Removes the note of a fleet if there is one. */
  remove(fleet: string): void {
    try {
      Deno.removeSync(this.#path(fleet));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }

  #path(fleet: string): string {
    return `${this.#folder}/cluster-${fleet}.json`;
  }

  #names(): string[] {
    try {
      return [...Deno.readDirSync(this.#folder)].map((entry) => entry.name)
        .filter((name) => /^cluster-.*\.json$/.test(name)).sort();
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return [];
      throw error;
    }
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

function parseState(path: string, text: string): FleetState {
  try {
    return Value.Parse(STATE, JSON.parse(text));
  } catch (error) {
    throw new Error(`Cannot read "${path}": not a fleet's note, delete it`, {
      cause: error,
    });
  }
}

/** Random histories: the state against its model, however it is written and read. */

import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { ChatState } from "../../../../nodes/chat/state/state.ts";
import {
  assertSameDump,
  dumpOf,
  EPOCH,
  History,
  inDirectory,
} from "./state_fixture.ts";
import { arbitraryStep, FIRST_STEPS, Model, type Step } from "./state_model.ts";

/** What happens to a state between two entries. */
type Event = "flush" | "maintain" | "checkpoint" | "reopen" | "crash" | "move";

const arbitraryEvents = fc.array(
  fc.tuple(
    fc.nat(299),
    fc.constantFrom<Event>(
      "flush",
      "maintain",
      "checkpoint",
      "reopen",
      "crash",
      "move",
    ),
  ),
  { maxLength: 12 },
);

/** Making a failure smaller must not take for ever. */
const SHRINK = {
  interruptAfterTimeLimit: 30_000,
  markInterruptAsFailure: true,
};

const arbitrarySteps = fc.array(arbitraryStep, {
  minLength: 100,
  maxLength: 300,
});

Deno.test("state: random histories do what the model says", async () => {
  await fc.assert(
    fc.asyncProperty(arbitrarySteps, async (steps) => {
      const { model, history, results } = played(steps);
      const state = ChatState.open(":memory:");
      assertEquals(
        state.apply(history.entries).map(({ result }) => result),
        results,
      );
      assertEquals(Model.viewOf(state), model.view());
      await state.flush();
      assertEquals(Model.viewOf(state), model.view());
      await state.sweep();
      assertEquals(Model.viewOf(state), model.view());
      assertEquals(state.counts, {
        users: model.users.size,
        sessions: model.sessionCount,
        messages: model.messages.length,
      });
      await state.close();
    }),
    { numRuns: 60, ...SHRINK },
  );
});

Deno.test("state: written, restarted, crashed or moved, it stays the same", async () => {
  await inDirectory(async (directory) => {
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(
        arbitrarySteps,
        arbitraryEvents,
        async (steps, events) => {
          runs += 1;
          const { model, history, results } = played(steps);
          const plain = ChatState.open(":memory:");
          plain.apply(history.entries);
          const lived = new Lived(`${directory}/${runs}`, history);
          for (const [at, event] of events.sort(([a], [b]) => a - b)) {
            await lived.play(at, event);
          }
          await lived.play(history.index, "maintain");
          assertEquals(lived.results, results);
          assertEquals(lived.state.hash, plain.hash);
          assertEquals(Model.viewOf(lived.state), model.view());
          assertSameDump(await dumpOf(lived.state), await dumpOf(plain));
          await lived.state.close();
          await plain.close();
        },
      ),
      { numRuns: 25, ...SHRINK },
    );
  });
});

/** A state in a file, to which all sorts of things happen. */
class Lived {
  state: ChatState;
  readonly results: unknown[] = [];
  readonly #directory: string;
  readonly #history: History;
  #files = 0;

  constructor(directory: string, history: History) {
    this.#directory = directory;
    this.#history = history;
    Deno.mkdirSync(directory);
    this.state = ChatState.open(this.#path);
  }

  get #path(): string {
    return `${this.#directory}/${this.#files}.db`;
  }

  /** Applies entries up to `index`, then lets something happen. */
  async play(index: number, event: Event): Promise<void> {
    this.#apply(index);
    switch (event) {
      case "flush":
        return await this.state.flush();
      case "maintain":
        return await this.state.maintain();
      case "checkpoint": {
        const { index: safe } = await this.state.checkpoint();
        return assertEquals(safe, this.state.applied.index);
      }
      case "reopen":
        await this.state.close();
        this.state = ChatState.open(this.#path);
        return assertEquals(this.state.opened.kind, "found");
      case "crash":
        return await this.#crash();
      case "move":
        return await this.#move();
    }
  }

  #apply(index: number): void {
    const from = this.state.applied.index;
    const entries = this.#history.entries.slice(from, index);
    const results = this.state.apply(entries).map(({ result }) => result);
    // After a crash some are applied again, and must come out alike.
    this.results.splice(from, results.length, ...results);
  }

  /** A copy of the files as they are, as a killed process leaves them. */
  async #crash(): Promise<void> {
    const old = this.#path;
    const pending = this.state.flush();
    const before = this.state;
    this.#files += 1;
    for (const suffix of ["", "-wal"]) {
      Deno.copyFileSync(old + suffix, this.#path + suffix);
    }
    await pending;
    await before.close();
    this.state = ChatState.open(this.#path);
    assertEquals(this.state.opened.kind, "found");
  }

  /** Into another file, as a server that is far behind gets it. */
  async #move(): Promise<void> {
    this.#files += 1;
    const other = ChatState.open(this.#path);
    await other.install(this.state.dump());
    assertEquals(other.hash, this.state.hash);
    await this.state.close();
    this.state = other;
  }
}

function played(
  steps: readonly Step[],
): { model: Model; history: History; results: unknown[] } {
  const model = new Model();
  const history = new History();
  const results = [...FIRST_STEPS, ...steps].map((step) => {
    const bytes = model.commandOf(step, history);
    return model.apply(history.index + 1, history.addBytes(bytes).command);
  });
  assertEquals(history.entries[0].epoch, EPOCH);
  return { model, history, results };
}

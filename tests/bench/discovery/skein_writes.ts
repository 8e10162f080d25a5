/** One client that writes to the leader, and one at each survivor that tries to. */

import { ChatConnection } from "../../../clients/chat_connection.ts";
import { WireError } from "../../../protocol/errors.ts";
import type { Machine } from "../../process/network.ts";
import { CLIENT_PORT } from "./skein.ts";
import type { Writes } from "./system.ts";

const PASSWORD = "correct-horse-battery-staple";
const WRITER = "bench";
/** To whom everything is written: an account that is never logged in. */
const SINK = "sink";
const TEXT = "x".repeat(256);

/** Writes before the load counts as one. */
const WARM_WRITES = 100;

/** A survivor is asked so often, whatever became of the last write. */
const TRY_EVERY_MS = 5;
/** Of writes without an answer at one survivor: then it is asked no more. */
const TRIES_MAX = 4_096;
const WRITE_WAIT_MS = 20_000;

/** All writes are of 256 bytes. */
export class SkeinWrites implements Writes {
  readonly #leader: ChatConnection;
  readonly #survivors: readonly ChatConnection[];
  readonly #warm = Promise.withResolvers<void>();
  #isClosed = false;

  private constructor(
    leader: ChatConnection,
    survivors: readonly ChatConnection[],
  ) {
    this.#leader = leader;
    this.#survivors = survivors;
    // Whoever waits for it hears of it, and perhaps nobody does.
    this.#warm.promise.catch(() => {});
    void this.#keepWriting();
  }

  /** Makes the accounts, logs in at every server and begins to write. */
  static async start({ leader, survivors }: {
    readonly leader: Machine;
    readonly survivors: readonly Machine[];
  }): Promise<SkeinWrites> {
    const [atLeader, ...others] = await Promise.all(
      [leader, ...survivors].map(({ host }) =>
        ChatConnection.connect({ host, port: CLIENT_PORT })
      ),
    );
    for (const user of [SINK, WRITER]) {
      const account = { user, password: PASSWORD };
      await atLeader.request({ type: "register", ...account });
    }
    const account = { user: WRITER, password: PASSWORD };
    for (const connection of [atLeader, ...others]) {
      await connection.request({ type: "login", ...account });
    }
    return new SkeinWrites(atLeader, others);
  }

  warm(): Promise<void> {
    return this.#warm.promise;
  }

  async next(): Promise<number> {
    const acked = Promise.withResolvers<number>();
    const deadlineMs = performance.now() + WRITE_WAIT_MS;
    let firstMs: number | undefined;
    void acked.promise.then((ms) => firstMs = ms);
    while (firstMs === undefined && performance.now() < deadlineMs) {
      for (const connection of this.#survivors) {
        if (connection.waitingCount >= TRIES_MAX) continue;
        connection.send(SINK, TEXT).then(
          () => acked.resolve(performance.now()),
          // Refused: the next one may be taken.
          () => {},
        );
      }
      await new Promise((resolve) => setTimeout(resolve, TRY_EVERY_MS));
    }
    if (firstMs !== undefined) return firstMs;
    throw new Error(`Nobody wrote again within ${WRITE_WAIT_MS / 1_000} s`);
  }

  close(): void {
    this.#isClosed = true;
    for (const connection of [this.#leader, ...this.#survivors]) {
      connection.close();
    }
  }

  /** One write at a time, until the leader is gone. */
  async #keepWriting(): Promise<void> {
    try {
      for (let count = 1; !this.#isClosed; count++) {
        await this.#leader.send(SINK, TEXT);
        if (count === WARM_WRITES) this.#warm.resolve();
      }
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#warm.reject(error);
    }
  }
}

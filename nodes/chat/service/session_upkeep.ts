/** Keeps sessions alive that somebody listens on, and ends those that nobody uses. */

import type { Log } from "../../host/log.ts";
import {
  encodeCommand,
  type IdleSession,
  SESSIONS_IN_COMMAND_MAX,
} from "../state/commands.ts";
import type { ServiceContext } from "./service_context.ts";

/** How often idle sessions are looked for: that looks at all of them. */
const EVERY_MS = 60_000;

/** A session whose client only listens is used again after this part of its time. */
const TOUCH_PART = 4;

/** Proposes what keeps the number of sessions down; commands alone change them. */
export class SessionUpkeep {
  readonly #context: ServiceContext;
  readonly #log: Log;
  #lastMs: number;

  constructor(context: ServiceContext, log: Log) {
    this.#context = context;
    this.#log = log;
    this.#lastMs = context.nowMs();
  }

  /**
   * Lets time pass.
   *
   * @param here.attached Sessions that connections of this server speak in.
   * @param here.isPrimary Whether this server ends the idle ones of all.
   */
  tick(
    here: {
      readonly attached: ReadonlyMap<string, unknown>;
      readonly isPrimary: boolean;
    },
  ): void {
    const nowMs = this.#context.nowMs();
    if (nowMs - this.#lastMs < EVERY_MS) return;
    this.#lastMs = nowMs;
    this.#touch(here.attached);
    if (here.isPrimary) this.#expire(here.attached);
  }

  #touch(attached: ReadonlyMap<string, unknown>): void {
    const { state, limits } = this.#context;
    const time = this.#context.wallMs();
    const ids: string[] = [];
    for (const id of attached.keys()) {
      const usedMs = state.sessions.get(id)?.usedMs ?? time;
      if (usedMs < time - limits.sessionIdleMs / TOUCH_PART) ids.push(id);
      if (ids.length === SESSIONS_IN_COMMAND_MAX) break;
    }
    if (ids.length === 0) return;
    this.#context.propose(encodeCommand({ kind: "touch-sessions", ids, time }));
  }

  #expire(attached: ReadonlyMap<string, unknown>): void {
    const { state, limits } = this.#context;
    const time = this.#context.wallMs();
    const sessions: IdleSession[] = state.sessions
      .idleSince(time - limits.sessionIdleMs, SESSIONS_IN_COMMAND_MAX)
      .filter(({ id }) => !attached.has(id))
      .map(({ id, used }) => ({ id, used }));
    if (sessions.length === 0) return;
    this.#log.info("Ending idle sessions", { count: sessions.length });
    this.#context.propose(
      encodeCommand({ kind: "expire-sessions", sessions, time }),
    );
  }
}

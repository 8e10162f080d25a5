/** The core of a chat client, driven by a test that plays its servers. */

import { assert, assertEquals } from "@std/assert";
import type { ChatEffect, ChatInput } from "../../clients/chat_contract.ts";
import { ChatCore } from "../../clients/chat_core.ts";
import type { Address } from "../../protocol/address.ts";
import { readAnswer } from "../../protocol/chat_answers.ts";
import type { WireCode } from "../../protocol/errors.ts";

/** Whom it logs in as. */
export const CREDENTIALS = {
  user: "ann",
  password: "correct horse",
  isNew: false,
};
/** What it is given for that. */
export const SESSION = { session: "00c0ffee00c0ffee", secret: "5ec2e7" };

/** A client port of that host. */
export function server(host: string): Address {
  return { host, port: 8091 };
}

/** A core, and a server that says what the test says. */
export class Driven {
  readonly core: ChatCore;
  nowMs = 0;
  /** Effects but for writes, since they were last looked at. */
  effects: ChatEffect[] = [];
  /** Requests written and not answered yet. */
  requests: Record<string, unknown>[] = [];
  /** Ids of the requests to follow the group. */
  watches: unknown[] = [];

  constructor(options: { targets?: number; shows?: boolean } = {}) {
    const { targets = 2, shows = true } = options;
    this.core = new ChatCore({
      targets: Array.from({ length: targets }, (_, at) => server(`s${at}`)),
      shows,
    });
  }

  step(input: ChatInput): this {
    for (const effect of this.core.step(input, this.nowMs)) {
      if (effect.kind !== "write") {
        this.effects.push(effect);
        continue;
      }
      for (const line of effect.lines.split("\n").slice(0, -1)) {
        const request = JSON.parse(line);
        if (request.type === "watch") this.watches.push(request.id);
        else this.requests.push(request);
      }
    }
    return this;
  }

  /** The oldest request not answered, and no other type than this. */
  next(type: string): Record<string, unknown> {
    const request = this.requests.shift();
    assertEquals(request?.type, type, JSON.stringify(request));
    assert(request !== undefined);
    return request;
  }

  ok(type: string, fields: Record<string, unknown> = {}): this {
    const { id } = this.next(type);
    return this.says({ type: "ok", id, ...fields });
  }

  error(type: string, code: WireCode, more: Record<string, unknown> = {}) {
    const { id } = this.next(type);
    return this.says({ type: "error", id, code, text: code, ...more });
  }

  says(answer: Record<string, unknown>): this {
    const read = readAnswer(JSON.stringify(answer));
    assert(read !== undefined);
    return this.step({ kind: "answer", answer: read });
  }

  message(n: number): this {
    const [from, to, text, time] = ["bob", "ann", `text ${n}`, 0];
    return this.says({ type: "message", n, from, to, text, time });
  }

  /** The server answers the latest request to follow the group. */
  watched(view: Record<string, unknown>): this {
    return this.says({ type: "ok", id: this.watches.at(-1), ...view });
  }

  /** All servers but the last of these are gone; the dials that this led to. */
  fails(times: number): string[] {
    const problem = { code: "link-lost", text: "refused" } as const;
    for (let i = 0; i < times; i++) this.step({ kind: "unreachable", problem });
    return this.took("dial");
  }

  send(text: string): this {
    const command = { kind: "send", to: "bob", text, line: 1 } as const;
    return this.step({ kind: "command", command });
  }

  pass(ms: number): this {
    this.nowMs += ms;
    return this.step({ kind: "wake" });
  }

  lose(): this {
    const problem = { code: "link-lost", text: "lost" } as const;
    this.requests = [];
    return this.step({ kind: "link-down", problem });
  }

  /** Effects of these kinds, in a few words each; all are forgotten. */
  took(...kinds: ChatEffect["kind"][]): string[] {
    const found = this.effects.filter(({ kind }) => kinds.includes(kind));
    this.effects = [];
    return found.map((effect) => {
      switch (effect.kind) {
        case "dial":
          return `dial ${effect.address.host} ${effect.attempt}`;
        case "view":
          return `${
            effect.news === "first" ? "follows" : "epoch"
          } ${effect.view.epoch?.counter}`;
        case "show":
          return `show ${effect.message.n}`;
        case "result":
          return `${effect.command.kind} ${effect.result.kind}`;
        case "ready":
          return effect.again ? "again" : "ready";
        case "refused":
          return `refused ${effect.problem.code}`;
        case "stalled":
          return `stalled ${effect.problem.code}`;
        case "done":
          return `done ${effect.problem?.code ?? ""}`.trim();
        default:
          return effect.kind;
      }
    });
  }

  /** Logs in and has caught up. */
  ready(index = 10): this {
    this.step({ kind: "login", credentials: CREDENTIALS });
    this.step({ kind: "connected" });
    this.ok("login", { user: "ann", ...SESSION, index });
    this.ok("list", { index, messages: [] });
    this.effects = [];
    return this;
  }
}

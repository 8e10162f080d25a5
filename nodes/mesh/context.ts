/** What the parts of a mesh server's core share: the step at hand and its effects. */

import type { WireCode } from "../../protocol/errors.ts";
import type { MeshRequestId, ToClient } from "../../protocol/mesh.ts";
import type {
  ClientNumber,
  MeshEffect,
  MeshLogEntry,
  MeshOptions,
} from "./contract.ts";

export class MeshContext {
  readonly options: MeshOptions;
  /** Monotonic, and since 1970: of the step at hand. */
  nowMs = 0;
  timeMs = 0;
  /** Of the step at hand, in order; the core hands them to its host. */
  effects: MeshEffect[] = [];
  readonly counters = {
    delivered: 0,
    duplicates: 0,
    resent: 0,
    missed: 0,
    loops: 0,
  };

  constructor(options: MeshOptions) {
    this.options = options;
  }

  emit(effect: MeshEffect): void {
    this.effects.push(effect);
  }

  tell(clients: readonly ClientNumber[] | "all", message: ToClient): void {
    this.effects.push({ kind: "tell", clients, message });
  }

  /** To every client that wants more than the messages themselves. */
  tellMore(message: ToClient): void {
    this.effects.push({
      ...{ kind: "tell", clients: "all", message },
      moreOnly: true,
    });
  }

  /** Done: said only to who gave the request an id. */
  ok(client: ClientNumber, id: MeshRequestId | undefined): void {
    if (id !== undefined) this.tell([client], { type: "ok", id });
  }

  /** A message has its number: said as {@linkcode ok}, and once it is logged. */
  acknowledge(
    client: ClientNumber,
    id: MeshRequestId | undefined,
    n: number,
  ): void {
    if (id === undefined) return;
    this.effects.push({
      ...{ kind: "tell", clients: [client], message: { type: "ok", id, n } },
      isOnceLogged: true,
    });
  }

  refuse(
    client: ClientNumber,
    id: MeshRequestId | undefined,
    error: { readonly code: WireCode; readonly text: string },
  ): void {
    this.tell([client], { type: "error", ...error, id });
  }

  log(entry: Omit<MeshLogEntry, "timeMs">): void {
    this.effects.push({
      kind: "log",
      entry: { ...entry, timeMs: this.timeMs },
    });
  }

  report(
    level: "debug" | "info" | "warn",
    text: string,
    fields?: Readonly<Record<string, string | number>>,
  ): void {
    this.effects.push({
      ...{ kind: "report", level, text },
      ...fields !== undefined && { fields },
    });
  }
}

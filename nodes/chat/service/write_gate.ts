/** Whether the group takes writes just now; who asks while it does not waits, or is told. */

import type { RequestId } from "../../../protocol/chat.ts";
import { WireError } from "../../../protocol/errors.ts";
import type { Log } from "../../host/log.ts";
import type { Client } from "./client.ts";
import type { GroupState } from "../replica/contract.ts";
import type { ServiceContext } from "./service_context.ts";

/** A group that takes no writes for so long is worth a line in the log. */
const WARN_AFTER_MS = 1_000;

/** What a gate needs of the service that it belongs to. */
export interface WriteGateOwner {
  readonly log: Log;
  refuse(client: Client, id: RequestId | undefined, error: WireError): void;
}

/** A request that goes on when the group takes writes. */
interface Held {
  readonly client: Client;
  readonly id: RequestId | undefined;
  readonly act: () => void;
}

/** Begins closed: the group is to say first that it takes writes. */
export class WriteGate {
  readonly #context: ServiceContext;
  readonly #owner: WriteGateOwner;
  #waitsFor: readonly string[] = [];
  /** Since when the group takes no writes. */
  #closedSinceMs: number | undefined;
  #hasBeenOpen = false;
  #isWarned = false;
  /** At most one of each connection, which takes no further line meanwhile. */
  #held: Held[] = [];

  constructor(context: ServiceContext, owner: WriteGateOwner) {
    this.#context = context;
    this.#owner = owner;
    this.#closedSinceMs = context.nowMs();
  }

  /** The group has changed. */
  groupChanged({ isWritable, waitsFor }: GroupState): void {
    this.#waitsFor = waitsFor;
    if (!isWritable) {
      this.#closedSinceMs ??= this.#context.nowMs();
      return;
    }
    this.#closedSinceMs = undefined;
    if (this.#isWarned) {
      this.#owner.log.info(
        this.#hasBeenOpen ? "Takes writes again" : "Takes writes",
      );
    }
    this.#isWarned = false;
    this.#hasBeenOpen = true;
    for (const { client, act } of this.#takeHeld()) {
      client.release();
      if (!client.isClosed) act();
    }
  }

  /** Why a write is refused at once; undefined if it is not. */
  get refusal(): WireError | undefined {
    const { waiting, limits } = this.#context;
    if (
      waiting.requests >= limits.waitingRequestsMax ||
      waiting.bytes >= limits.waitingBytesMax
    ) {
      return new WireError(
        "busy",
        `${waiting.requests} requests of ${waiting.bytes} bytes wait at this server`,
      );
    }
    if (this.#closedForMs < limits.holdWritesMs) return undefined;
    return new WireError(
      "no-primary",
      ["The group takes no writes just now", ...this.#waitsFor].join(": "),
    );
  }

  /**
   * Goes on with a request of this client when the group takes writes: now, if
   * it does. Refuses it if that does not come to pass in time; then nothing of
   * it has been done.
   */
  whenOpen(
    client: Client,
    id: RequestId | undefined,
    act: () => void,
  ): void {
    const { refusal } = this;
    if (refusal !== undefined) return this.#owner.refuse(client, id, refusal);
    if (this.#closedSinceMs === undefined) return act();
    client.occupy();
    this.#held.push({ client, id, act });
  }

  /** Lets time pass. */
  tick(): void {
    const forMs = this.#closedForMs;
    // A node that looks for its group has said so, and waits for nobody else.
    const isWorthALine = forMs >= WARN_AFTER_MS && this.#waitsFor.length > 0;
    if (isWorthALine && !this.#isWarned) {
      this.#isWarned = true;
      this.#owner.log.warn(
        `Takes no writes: waits for ${this.#waitsFor.join("; ")}`,
      );
    }
    const { refusal } = this;
    if (refusal === undefined || refusal.code !== "no-primary") return;
    for (const { client, id } of this.#takeHeld()) {
      this.#owner.refuse(client, id, refusal);
      client.release();
    }
  }

  get #closedForMs(): number {
    const sinceMs = this.#closedSinceMs;
    return sinceMs === undefined ? 0 : this.#context.nowMs() - sinceMs;
  }

  #takeHeld(): readonly Held[] {
    const held = this.#held;
    this.#held = [];
    return held;
  }
}

/** Requests of operators that this server leave its group for good. */

import type { LeaveRequest } from "../../../protocol/chat.ts";
import { formatOk } from "../../../protocol/chat_answers.ts";
import { WireError } from "../../../protocol/errors.ts";
import {
  isLeaveProof,
  LEAVE_NONCE_BYTES,
  type LeaveChallenge,
} from "../../../protocol/leave_proof.ts";
import type { NodeStatus } from "../../../protocol/status.ts";
import type { Client } from "./client.ts";
import type { LeaveHost, ServiceOptions } from "./service_context.ts";

/** When to try again what is refused for now. */
const BUSY_RETRY_MS = 1_000;

type Parts = Pick<ServiceOptions, "leave" | "log" | "randomHex" | "status">;

/** Checks who asks, and answers once the server's vote is gone. */
export class LeaveRequests {
  readonly #parts: Parts;
  /** The newest challenge given to each connection; good for one proof. */
  readonly #challenges = new WeakMap<Client, LeaveChallenge>();
  /** All who ask while it leaves hear how that ends. */
  #leaving: Promise<void> | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  take(client: Client, request: LeaveRequest): void {
    const { leave } = this.#parts;
    const { id } = request;
    if (leave === undefined) {
      const text = "This server cannot be sent away";
      return client.sayError(new WireError("not-allowed", text), { id });
    }
    if (this.#mayAsk(client, { request, leave })) {
      void this.#leave(client, { request, leave });
    }
  }

  /** Whether this is somebody who may; else says what is wanted. */
  #mayAsk(
    client: Client,
    asked: { readonly request: LeaveRequest; readonly leave: LeaveHost },
  ): boolean {
    const { request: { id, nonce, proof }, leave } = asked;
    const { key, node, incarnation } = leave;
    if (key === undefined) {
      if (client.transport.isLocal) return true;
      const text =
        `Without a cluster key "${node}" can be sent away from its own machine only`;
      client.sayError(new WireError("not-allowed", text), { id });
      return false;
    }
    const challenge = this.#challenges.get(client);
    this.#challenges.delete(client);
    if (proof !== undefined) {
      const isProven = challenge !== undefined && challenge.nonce === nonce &&
        isLeaveProof(key, challenge, proof);
      if (isProven) return true;
      const text = "The proof was made with another key, or for another nonce";
      client.sayError(new WireError("wrong-key", text), { id });
      return false;
    }
    const fresh = {
      node,
      incarnation,
      nonce: this.#parts.randomHex(LEAVE_NONCE_BYTES),
    };
    this.#challenges.set(client, fresh);
    client.sayError(
      new WireError("key-required", "Prove the cluster key: see WIRE.md"),
      { id, challenge: fresh },
    );
    return false;
  }

  async #leave(
    client: Client,
    asked: { readonly request: LeaveRequest; readonly leave: LeaveHost },
  ): Promise<void> {
    const { request: { id }, leave } = asked;
    const from = client.transport.label;
    this.#parts.log.info("Asked to leave the group for good", { from });
    // A stop waits for what is open: the answer goes out before the process ends.
    client.open();
    try {
      this.#leaving ??= leave.leaveForGood();
      await this.#leaving;
      const { node } = leave;
      const voters = votersWithout(node, this.#parts.status());
      client.say(
        formatOk(id, { node, ...voters !== undefined && { voters } }),
      );
    } catch (error) {
      // It stays, and may be asked again.
      this.#leaving = undefined;
      if (!(error instanceof WireError)) throw error;
      const retryMs = error.outcome === "indefinite"
        ? BUSY_RETRY_MS
        : undefined;
      client.sayError(error, { id, retryMs });
    } finally {
      client.settle();
    }
  }
}

/** How many voters the newest view has, this node not counted. */
function votersWithout(
  node: string,
  { view }: NodeStatus,
): number | undefined {
  return view?.voters.filter((id) => id !== node).length;
}

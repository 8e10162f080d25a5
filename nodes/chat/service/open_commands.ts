/** Commands of clients' sessions, from the request until their result is applied here. */

import { Buffer } from "node:buffer";
import type { RequestId } from "../../../protocol/chat.ts";
import { formatOk, formatSent } from "../../../protocol/chat_answers.ts";
import { WireError } from "../../../protocol/errors.ts";
import {
  type Client,
  type ClientSession,
  OPEN_REQUESTS_MAX,
} from "./client.ts";
import { encodeCommand, type SessionCommand } from "../state/commands.ts";
import type { Result } from "../state/results.ts";
import type { ServiceContext } from "./service_context.ts";
import type { Applied } from "../state/state_core.ts";

/** How long a command may be open before it is proposed again. */
const PROPOSE_AGAIN_MS = 1_000;

/** When to try again what was refused for want of room. */
const BUSY_RETRY_MS = 200;

/** How often, at most, a missing command makes a session propose again. */
const GAP_AGAIN_MS = 50;

/** A command without what its session puts to it. */
export type CommandBody =
  | { readonly kind: "send"; readonly to: string; readonly text: string }
  | { readonly kind: "mark-read"; readonly upTo: number }
  | { readonly kind: "close-session" }
  | { readonly kind: "delete-account" };

/** A request that becomes a command. */
export interface CommandRequest {
  readonly id: RequestId | undefined;
  /** The client's own number, if it counts itself. */
  readonly seq: number | undefined;
  readonly body: CommandBody;
}

/** One command whose result is not applied here yet. */
export interface OpenCommand {
  /**
   * The requests that wait for its result: one, more where the client said the
   * same number again, none once they were told that it takes too long.
   */
  readonly ids: (RequestId | undefined)[];
  readonly body: CommandBody;
  /** The client counts: an equal number is the same command, sent again. */
  readonly isNumbered: boolean;
  sequence: number;
  bytes: Uint8Array;
  sinceMs: number;
  proposedMs: number;
}

/** Numbers, proposes, repeats and answers the commands of all clients. */
export class OpenCommands {
  readonly #context: ServiceContext;
  /** Those who have open commands. */
  readonly #clients = new Set<Client>();

  constructor(context: ServiceContext) {
    this.#context = context;
  }

  /** Takes a request of a client that is logged in. */
  begin(
    client: Client,
    session: ClientSession,
    request: CommandRequest,
  ): void {
    const { id, seq, body } = request;
    const known = seq === undefined ? undefined : client.commands.get(seq);
    if (known !== undefined) return this.#beginAgain(client, known, id);
    if (client.commands.size >= OPEN_REQUESTS_MAX) {
      // Those that took too long count on: their results must still be kept.
      const text = `This connection has ${client.commands.size} commands open`;
      return this.#refuse(client, id, new WireError("busy", text));
    }
    const sequence = seq ?? session.lastSequence + 1;
    if (sequence > session.lastSequence + 1) {
      return this.#refuse(
        client,
        id,
        new WireError(
          "sequence-gap",
          `Cannot take sequence ${sequence}: the session's next one is ${
            session.lastSequence + 1
          }`,
        ),
      );
    }
    const nowMs = this.#context.nowMs();
    let bytes: Uint8Array;
    try {
      bytes = this.#encode(session, { sequence, body });
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      return this.#refuse(client, id, error);
    }
    session.lastSequence = Math.max(session.lastSequence, sequence);
    client.open();
    client.commands.set(sequence, {
      ids: [id],
      body,
      isNumbered: seq !== undefined,
      sequence,
      bytes,
      sinceMs: nowMs,
      proposedMs: nowMs,
    });
    this.#clients.add(client);
    this.#count(client, bytes.length);
    this.#context.propose(bytes);
  }

  /** A command of this client's session is applied. */
  applied(client: Client, applied: Applied, bytes: Uint8Array): void {
    const { command, result } = applied;
    if (command === undefined || !("sequence" in command)) return;
    const open = client.commands.get(command.sequence);
    if (open === undefined) {
      // Proposed elsewhere, before this connection resumed the session.
      if (client.session !== undefined && result.code !== "gap") {
        const { session } = client;
        session.lastSequence = Math.max(session.lastSequence, command.sequence);
      }
      return;
    }
    if (result.code === "gap") return this.#gap(client, open, result);
    const isOurs = open.isNumbered || Buffer.compare(open.bytes, bytes) === 0;
    if (!isOurs) return this.#renumber(client, open);
    this.#remove(client, open);
    const { latencies } = this.#context.counters;
    latencies.observe(this.#context.nowMs() - open.sinceMs);
    for (const id of open.ids) {
      this.#answer(client, { open, id }, result);
      client.settle();
    }
  }

  /** Proposes all that is open again, the oldest of each session first. */
  proposeAll(): void {
    const nowMs = this.#context.nowMs();
    for (const client of this.#clients) this.#proposeFrom(client, 0, nowMs);
  }

  /** Repeats what is open for long; tells clients that wait too long. */
  tick(nowMs: number): void {
    const { requestWaitMs } = this.#context.limits;
    for (const client of this.#clients) {
      const [oldest] = client.commands.values();
      if (nowMs - oldest.proposedMs >= PROPOSE_AGAIN_MS) {
        this.#proposeFrom(client, 0, nowMs);
      }
      for (const open of client.commands.values()) {
        if (nowMs - open.sinceMs >= requestWaitMs) this.#tellLate(client, open);
      }
    }
  }

  /** The client is gone, or its session: nobody waits for these any more. */
  drop(client: Client): void {
    if (!this.#clients.delete(client)) return;
    for (const open of client.commands.values()) {
      this.#count(client, -open.bytes.length);
    }
    client.commands.clear();
  }

  /** Answers all that is open with an error, and forgets it. */
  fail(client: Client, error: WireError): void {
    const commands = [...client.commands.values()];
    this.drop(client);
    for (const { ids } of commands) {
      for (const id of ids) {
        client.sayError(error, { id });
        client.settle();
      }
    }
  }

  #refuse(
    client: Client,
    id: RequestId | undefined,
    error: WireError,
  ): void {
    this.#context.counters.refusedRequests += 1;
    const isBusy = error.code === "busy";
    client.sayError(error, { id, retryMs: isBusy ? BUSY_RETRY_MS : undefined });
  }

  /** The client says a number that is open here. */
  #beginAgain(
    client: Client,
    open: OpenCommand,
    id: RequestId | undefined,
  ): void {
    // Not more of them than of other requests: each counts as open.
    open.ids.push(id);
    open.sinceMs = this.#context.nowMs();
    client.open();
  }

  #encode(
    session: ClientSession,
    { sequence, body }: { sequence: number; body: CommandBody },
  ): Uint8Array {
    const command: SessionCommand = {
      session: session.id,
      sequence,
      time: this.#context.wallMs(),
      ...body,
    };
    return encodeCommand(command);
  }

  #gap(client: Client, open: OpenCommand, { value: wanted }: Result): void {
    const nowMs = this.#context.nowMs();
    if (Math.min(...client.commands.keys()) > wanted) {
      // Nothing here could fill it. It may do so elsewhere: not definite.
      this.#remove(client, open);
      const error = new WireError(
        "sequence-gap",
        `Cannot do sequence ${open.sequence}: ${wanted} is missing`,
      );
      for (const id of open.ids) {
        client.sayError(error, { id, outcome: "indefinite" });
        client.settle();
      }
      return;
    }
    // Those on the way meet the same gap: proposed once more is enough.
    if (nowMs - client.gapMs < GAP_AGAIN_MS) return;
    client.gapMs = nowMs;
    this.#proposeFrom(client, wanted, nowMs);
  }

  /**
   * Another server's command took the number that this one gave. Only this
   * command gets another: those behind it are on their way under theirs, and
   * would be done twice.
   */
  #renumber(client: Client, open: OpenCommand): void {
    const { session } = client;
    if (session === undefined) return;
    this.#remove(client, open);
    const known = this.#context.state.sessions.get(session.id)?.sequence ?? 0;
    session.lastSequence = Math.max(session.lastSequence, known) + 1;
    open.sequence = session.lastSequence;
    open.bytes = this.#encode(session, open);
    open.proposedMs = this.#context.nowMs();
    client.commands.set(open.sequence, open);
    this.#clients.add(client);
    this.#count(client, open.bytes.length);
    this.#context.propose(open.bytes);
  }

  #proposeFrom(client: Client, sequence: number, nowMs: number): void {
    for (const open of client.commands.values()) {
      if (open.sequence < sequence) continue;
      open.proposedMs = nowMs;
      this.#context.propose(open.bytes);
    }
  }

  #tellLate(client: Client, open: OpenCommand): void {
    const { requestWaitMs } = this.#context.limits;
    for (const id of open.ids.splice(0)) {
      client.sayError(
        new WireError(
          "timeout",
          `Cannot say what became of it after ${
            requestWaitMs / 1_000
          } s: it may yet be done`,
        ),
        { id, retryMs: PROPOSE_AGAIN_MS },
      );
      client.settle();
    }
  }

  #remove(client: Client, open: OpenCommand): void {
    client.commands.delete(open.sequence);
    this.#count(client, -open.bytes.length);
    if (client.commands.size === 0) this.#clients.delete(client);
  }

  #count(client: Client, bytes: number): void {
    client.commandBytes += bytes;
    const { waiting } = this.#context;
    waiting.requests += Math.sign(bytes);
    waiting.bytes += bytes;
  }

  #answer(
    client: Client,
    { open, id }: { open: OpenCommand; id: RequestId | undefined },
    result: Result,
  ): void {
    const { sequence: seq, body } = open;
    if (result.code === "ok") {
      if (body.kind === "send") {
        return client.say(formatSent(id, { seq, n: result.value }));
      }
      const { index } = this.#context.state.applied;
      const read = body.kind === "mark-read" ? { read: result.value } : {};
      return client.say(formatOk(id, { seq, index, ...read }));
    }
    this.#context.counters.refusedRequests += 1;
    client.sayError(resultError(result, body), { id });
  }
}

function resultError(result: Result, body: CommandBody): WireError {
  switch (result.code) {
    case "unknown-user":
      return new WireError(
        "no-such-user",
        `Nobody is called "${body.kind === "send" ? body.to : ""}"`,
      );
    case "no-session":
      return new WireError("session-unknown", "The session has ended");
    case "stale":
      return new WireError(
        "sequence-stale",
        "It was done so long ago that its result is forgotten",
      );
    default:
      return new WireError(
        "invalid-message",
        `The group did not take it: ${result.code}`,
      );
  }
}

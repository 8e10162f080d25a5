/** Serves clients: their requests become commands, and what is committed becomes answers. */

import {
  type ChatRequest,
  readRequest,
  RequestError,
  type RequestId,
} from "../../../protocol/chat.ts";
import {
  formatMessage,
  formatNotice,
  formatOk,
} from "../../../protocol/chat_answers.ts";
import { WireError } from "../../../protocol/errors.ts";
import type { LogEntry } from "../../../protocol/replica.ts";
import {
  Client,
  type ClientOwner,
  type ClientSession,
  type ClientSide,
  type ClientTransport,
} from "./client.ts";
import { CLIENT_HELP } from "./client_help.ts";
import type {
  CommittedLog,
  CommittedLogEvents,
} from "../replica/committed_log.ts";
import type { GroupState } from "../replica/contract.ts";
import { IndexWaits } from "./index_waits.ts";
import { Latencies } from "./latencies.ts";
import { LeaveRequests } from "./leave_requests.ts";
import { Lists } from "./lists.ts";
import { Logins } from "./logins.ts";
import { type CommandBody, OpenCommands } from "./open_commands.ts";
import {
  DEFAULT_LIMITS,
  type ServiceContext,
  type ServiceCounters,
  type ServiceOptions,
} from "./service_context.ts";
import { SessionUpkeep } from "./session_upkeep.ts";
import type { EndedSession, SessionEnd } from "../state/sessions.ts";
import type { Applied, StoredMessage } from "../state/state_core.ts";
import { ViewWatchers } from "./view_watchers.ts";
import { WriteGate } from "./write_gate.ts";

/** How often {@linkcode ChatService.tick} is to be called. */
export const SERVICE_TICK_MS = 100;

/** How often connections are looked at that may be stuck. */
const CHECK_EVERY_MS = 1_000;

/** How long a stop waits for its last words to be read. */
const LAST_WORDS_WAIT_MS = 500;

/** When to try again what was refused for want of room, or of a primary. */
const BUSY_RETRY_MS = 200;

/**
 * How a browser begins, which any web page can make one of this machine do; its
 * first line may be too long to be looked at, the second is always there.
 */
const HTTP_REQUEST = /^(?:[A-Z]+ \S+ HTTP\/\d|host:)/i;

/**
 * One server's clients. It owns no socket, timer or clock: connections come in
 * by {@linkcode connect}, committed entries by {@linkcode committed}, time by
 * {@linkcode tick}; whatever a turn leads to is proposed and written when the
 * turn ends, at most once for each connection.
 */
export class ChatService implements ClientOwner, CommittedLogEvents {
  readonly counters: ServiceCounters = {
    requests: 0,
    refusedRequests: 0,
    proposals: 0,
    pushed: 0,
    slowConsumers: 0,
    latencies: new Latencies(),
  };
  readonly #options: ServiceOptions;
  readonly #context: ServiceContext;
  readonly #gate: WriteGate;
  readonly #commands: OpenCommands;
  readonly #logins: Logins;
  readonly #lists: Lists;
  readonly #upkeep: SessionUpkeep;
  readonly #watchers: ViewWatchers;
  readonly #leave: LeaveRequests;
  readonly #clients = new Set<Client>();
  /** Connections that stand, if only to write their last words. */
  readonly #connected = new Set<Client>();
  readonly #bySession = new Map<string, Client>();
  readonly #byUser = new Map<number, Set<Client>>();
  #log: CommittedLog | undefined;
  #proposals: Uint8Array[] = [];
  #toFlush: Client[] = [];
  #isTurnOpen = false;
  #checkMs: number;
  #stopped: (() => void) | undefined;
  #stopUntilMs = Infinity;
  #isDissolved = false;

  constructor(options: ServiceOptions) {
    this.#options = options;
    this.#checkMs = options.nowMs();
    this.#context = {
      state: options.state,
      passwords: options.passwords,
      waits: new IndexWaits({
        appliedIndex: () => options.state.applied.index,
        readIndex: () => this.#readIndex(),
      }),
      limits: { ...DEFAULT_LIMITS, ...options.limits },
      counters: this.counters,
      waiting: { requests: 0, bytes: 0 },
      nowMs: options.nowMs,
      wallMs: options.wallMs,
      randomHex: options.randomHex,
      propose: (command) => this.#propose(command),
      fail: (error) => options.onFatal(error),
    };
    this.#gate = new WriteGate(this.#context, {
      log: options.log,
      refuse: (client, id, error) => this.#refuse(client, id, error),
    });
    this.#commands = new OpenCommands(this.#context);
    this.#lists = new Lists(this.#context);
    this.#upkeep = new SessionUpkeep(this.#context, options.log);
    this.#watchers = new ViewWatchers(() => options.status());
    this.#leave = new LeaveRequests(options);
    this.#logins = new Logins(this.#context, {
      attach: (client, session) => this.#attach(client, session),
    });
  }

  /** Connections of clients. */
  get clientCount(): number {
    return this.#clients.size;
  }

  /** Commands proposed for clients here and not yet applied. */
  get openCount(): number {
    return this.#context.waiting.requests;
  }

  /** Begins to propose to this log; its events must come to this service. */
  start(log: CommittedLog): void {
    this.#log = log;
    this.groupChanged(log.group);
  }

  /** Takes a new connection in. */
  connect(transport: ClientTransport): ClientSide {
    const client = new Client(transport, this);
    this.#clients.add(client);
    this.#connected.add(client);
    if (this.#stopped !== undefined) client.end(stopping());
    return client;
  }

  /**
   * Stops: takes no more requests, waits for those that are open, and closes
   * all connections. What is still open then may or may not be done.
   */
  stop(waitMs: number): Promise<void> {
    const stopped = new Promise<void>((resolve) => this.#stopped = resolve);
    this.#stopUntilMs = this.#options.nowMs() + waitMs;
    this.#finishStop();
    return stopped;
  }

  /** Lets time pass. */
  tick(): void {
    const nowMs = this.#options.nowMs();
    this.#gate.tick();
    this.#commands.tick(nowMs);
    this.#logins.tick(nowMs);
    this.#context.waits.tick(nowMs);
    this.#watchers.tick(nowMs);
    if (nowMs - this.#checkMs >= CHECK_EVERY_MS) this.#check(nowMs);
    this.#upkeep.tick({
      attached: this.#bySession,
      isPrimary: this.#log?.group.role === "primary",
    });
    if (this.#stopped !== undefined) this.#finishStop();
  }

  // What the log reports

  committed(entries: readonly LogEntry[]): void {
    const outcomes = this.#options.state.apply(entries);
    // Nobody is told anything of a group that has ended.
    for (let i = 0; i < outcomes.length && !this.#isDissolved; i++) {
      const { dissolved } = outcomes[i];
      this.#isDissolved = dissolved !== undefined;
      if (dissolved !== undefined) this.#options.onDissolved(dissolved);
      else this.#applied(outcomes[i], entries[i].command);
    }
    if (this.#isDissolved) return;
    this.#context.waits.advance();
  }

  groupChanged(group: GroupState): void {
    this.#watchers.groupChanged();
    this.#gate.groupChanged(group);
    if (!group.isWritable) return;
    this.#logins.proposeAll();
    this.#commands.proposeAll();
    this.#context.waits.groupChanged();
  }

  /**
   * The state was replaced by a newer one, of a snapshot: entries between were
   * not seen here one by one.
   */
  stateReplaced(): void {
    const { state } = this.#options;
    for (const client of this.#clients) {
      const { session } = client;
      if (session === undefined) continue;
      if (state.sessions.get(session.id) === undefined) {
        this.#endSession(client, "The session has ended");
      } else {
        client.say(formatNotice(
          "missed",
          "This server was behind: list what is after the last message seen",
          { index: state.applied.index },
        ));
      }
    }
    this.#logins.proposeAll();
    this.#commands.proposeAll();
    this.#context.waits.advance();
  }

  // What clients say

  handle(client: Client, line: string): void {
    this.counters.requests += 1;
    let request: ChatRequest;
    try {
      request = readRequest(line);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      const { id } = error;
      const lineNumber = id === undefined ? client.lineNumber : undefined;
      this.counters.refusedRequests += 1;
      // What a page has put behind this line is not what the user said.
      if (HTTP_REQUEST.test(line)) return client.end(error);
      return client.sayError(error, { id, line: lineNumber });
    }
    if (this.#stopped !== undefined) {
      return this.#refuse(client, request.id, stopping(), "definite");
    }
    this.#answer(client, request);
  }

  wantsFlush(client: Client): void {
    this.#toFlush.push(client);
    this.#openTurn();
  }

  gone(client: Client): void {
    this.#commands.drop(client);
    this.#detach(client);
    this.#watchers.drop(client);
    this.#clients.delete(client);
    if (client.wasCutOff) this.counters.slowConsumers += 1;
  }

  left(client: Client): void {
    this.#connected.delete(client);
    if (this.#stopped !== undefined) this.#finishStop();
  }

  #answer(client: Client, request: ChatRequest): void {
    const { id } = request;
    switch (request.type) {
      case "send": {
        const { to, text, seq } = request;
        return this.#begin(client, { id, seq }, { kind: "send", to, text });
      }
      case "mark_read": {
        const { upto, seq } = request;
        return this.#begin(client, { id, seq }, {
          kind: "mark-read",
          upTo: upto,
        });
      }
      case "logout":
        return client.whenSettled(() =>
          this.#begin(client, request, { kind: "close-session" })
        );
      case "delete_account":
        return client.whenSettled(() => this.#deleteAccount(client, request));
      case "list":
        if (client.session === undefined) return this.#notLoggedIn(client, id);
        return this.#lists.begin(client, request);
      case "register":
        return this.#gate.whenOpen(client, id, () => {
          void this.#logins.register(client, request);
        });
      case "login":
        if (this.#isLoggedIn(client, id)) return;
        return this.#gate.whenOpen(client, id, () => {
          this.#logins.login(client, request);
        });
      case "resume":
        if (this.#isLoggedIn(client, id)) return;
        return this.#logins.resume(client, request);
      case "status":
        return client.say(formatOk(id, { ...this.#options.status() }));
      case "watch":
        return this.#watchers.watch(client, id);
      case "leave":
        return this.#leave.take(client, request);
      case "ping":
        return client.say(
          formatOk(id, { index: this.#options.state.applied.index }),
        );
      case "help":
        return client.say(formatOk(id, { help: CLIENT_HELP }));
    }
  }

  #begin(
    client: Client,
    asked: { readonly id?: RequestId; readonly seq?: number | undefined },
    body: CommandBody,
  ): void {
    const { id, seq } = asked;
    const { session } = client;
    if (session === undefined) return this.#notLoggedIn(client, id);
    if (!this.#mayPropose(client, id)) return;
    this.#commands.begin(client, session, { id, seq, body });
    // The lines behind a logout belong to whoever logs in next.
    if (body.kind === "close-session" || body.kind === "delete-account") {
      client.occupyUntilSettled();
    }
  }

  #deleteAccount(
    client: Client,
    request: ChatRequest & { type: "delete_account" },
  ): void {
    const { id, password } = request;
    if (client.session === undefined) return this.#notLoggedIn(client, id);
    if (!this.#mayPropose(client, id)) return;
    void this.#logins.confirm(client, { id, password }, () => {
      this.#begin(client, request, { kind: "delete-account" });
    });
  }

  #notLoggedIn(client: Client, id: RequestId | undefined): void {
    this.#refuse(
      client,
      id,
      new WireError("not-logged-in", "Log in first: login or resume"),
    );
  }

  #isLoggedIn(client: Client, id: RequestId | undefined): boolean {
    const { session } = client;
    if (session === undefined) return false;
    this.#refuse(
      client,
      id,
      new WireError(
        "logged-in",
        `This connection is logged in as "${session.user}": log out first`,
      ),
    );
    return true;
  }

  /** Whether there is room for a write, and anybody to take it; else says so. */
  #mayPropose(client: Client, id: RequestId | undefined): boolean {
    const { refusal } = this.#gate;
    if (refusal !== undefined) this.#refuse(client, id, refusal);
    return refusal === undefined;
  }

  #refuse(
    client: Client,
    id: RequestId | undefined,
    error: WireError,
    outcome?: "definite",
  ): void {
    this.counters.refusedRequests += 1;
    const isTransient = error.code === "busy" || error.code === "no-primary" ||
      error.code === "timeout";
    client.sayError(error, {
      id,
      outcome,
      retryMs: isTransient ? BUSY_RETRY_MS : undefined,
    });
  }

  // What was applied

  #applied(applied: Applied, bytes: Uint8Array): void {
    const { command, message, ended } = applied;
    if (command === undefined) return;
    switch (command.kind) {
      case "send":
      case "mark-read":
      case "close-session":
      case "delete-account": {
        const client = this.#bySession.get(command.session);
        if (client === undefined) break;
        const endsItself = client.commands.has(command.sequence) &&
          ended.some(({ id }) => id === command.session);
        if (endsItself) this.#detach(client);
        this.#commands.applied(client, applied, bytes);
        if (endsItself) {
          this.#commands.fail(
            client,
            new WireError("session-unknown", "The session has ended"),
          );
        }
        break;
      }
      case "register":
      case "open-session":
        this.#logins.applied(applied);
        break;
      case "expire-sessions":
      case "touch-sessions":
        break;
    }
    if (message !== undefined) this.#push(message);
    for (const session of ended) this.#sessionEnded(session);
  }

  #push(message: StoredMessage): void {
    const clients = this.#byUser.get(message.to);
    if (clients === undefined) return;
    const { users } = this.#options.state;
    const from = users.byId(message.from);
    const to = users.byId(message.to);
    // Deleted by a later entry of the same batch, and the message with it.
    if (from === undefined || to === undefined) return;
    const { id: n, text, time } = message;
    const line = formatMessage({ n, from: from.name, to: to.name, text, time });
    for (const client of clients) client.say(line);
    this.counters.pushed += clients.size;
  }

  #sessionEnded({ id, reason }: EndedSession): void {
    const client = this.#bySession.get(id);
    if (client !== undefined) this.#endSession(client, SESSION_ENDS[reason]);
  }

  /** Tells a client that it is logged in no more; the connection stays. */
  #endSession(client: Client, why: string): void {
    const error = new WireError("session-unknown", why);
    this.#detach(client);
    this.#commands.fail(client, error);
    client.sayError(error, {});
  }

  #attach(client: Client, sessionId: string): void {
    const { state } = this.#options;
    const row = state.sessions.get(sessionId);
    const user = row && state.users.byId(row.user);
    // Ended by a later entry of the same batch: the client is told next.
    if (client.isClosed || row === undefined || user === undefined) return;
    this.#bySession.get(sessionId)?.end(
      new WireError("session-moved", "The session goes on elsewhere"),
    );
    const session: ClientSession = {
      id: sessionId,
      user: user.name,
      userId: user.id,
      lastSequence: row.sequence,
    };
    client.session = session;
    this.#bySession.set(sessionId, client);
    const clients = this.#byUser.get(user.id);
    if (clients === undefined) this.#byUser.set(user.id, new Set([client]));
    else clients.add(client);
  }

  #detach(client: Client): void {
    const { session } = client;
    if (session === undefined) return;
    client.session = undefined;
    if (this.#bySession.get(session.id) === client) {
      this.#bySession.delete(session.id);
    }
    const clients = this.#byUser.get(session.userId);
    clients?.delete(client);
    if (clients?.size === 0) this.#byUser.delete(session.userId);
  }

  // Turns

  #propose(command: Uint8Array): void {
    this.counters.proposals += 1;
    this.#proposals.push(command);
    this.#openTurn();
  }

  #openTurn(): void {
    if (this.#isTurnOpen) return;
    this.#isTurnOpen = true;
    this.#options.defer(() => this.#endTurn());
  }

  #endTurn(): void {
    this.#isTurnOpen = false;
    const clients = this.#toFlush;
    this.#toFlush = [];
    for (const client of clients) client.flush();
    const commands = this.#proposals;
    this.#proposals = [];
    if (commands.length > 0) this.#log?.propose(commands);
  }

  async #readIndex(): Promise<number> {
    if (this.#log === undefined) {
      throw new WireError("no-primary", "This server is starting");
    }
    return await this.#log.readIndex();
  }

  // Time

  #check(nowMs: number): void {
    this.#checkMs = nowMs;
    for (const client of this.#clients) {
      const error = client.transport.check(nowMs);
      if (error !== undefined) client.end(error);
    }
    this.#cutSlowest();
  }

  /** So that many slow readers together take no more than a server can bear. */
  #cutSlowest(): void {
    const queued = [...this.#clients]
      .map((client) => ({ client, bytes: client.transport.queuedBytes }))
      .filter(({ bytes }) => bytes > 0)
      .sort((a, b) => b.bytes - a.bytes);
    let total = queued.reduce((sum, { bytes }) => sum + bytes, 0);
    for (const { client, bytes } of queued) {
      if (total <= this.#context.limits.queuedBytesMax) return;
      total -= bytes;
      client.cutSlow(bytes);
    }
  }

  #finishStop(): void {
    const isLate = this.#options.nowMs() >= this.#stopUntilMs;
    for (const client of this.#clients) {
      if (client.openCount > 0 && !isLate) continue;
      this.#commands.fail(client, stopping());
      client.end(stopping());
    }
    // They have a while to read their last words.
    const isOver = this.#connected.size === 0 ||
      this.#options.nowMs() >= this.#stopUntilMs + LAST_WORDS_WAIT_MS;
    if (this.#clients.size === 0 && isOver) this.#stopped?.();
  }
}

const SESSION_ENDS: Readonly<Record<SessionEnd, string>> = {
  "closed": "The session has ended: it was logged out",
  "replaced": "The session has ended: the user has too many",
  "expired": "The session has ended: it was idle for too long",
  "user-deleted": "The session has ended: the account was deleted",
};

function stopping(): WireError {
  return new WireError(
    "shutting-down",
    "This server is stopping: go on at another",
  );
}

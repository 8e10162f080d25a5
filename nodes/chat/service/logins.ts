/** Accounts and sessions of clients: register, login, resume, and the password of a deletion. */

import { createHash, timingSafeEqual } from "node:crypto";
import { Buffer } from "node:buffer";
import type {
  LoginRequest,
  RegisterRequest,
  RequestId,
  ResumeRequest,
} from "../../../protocol/chat.ts";
import { formatOk } from "../../../protocol/chat_answers.ts";
import { WireError } from "../../../protocol/errors.ts";
import type { Client } from "./client.ts";
import { type Command, encodeCommand } from "../state/commands.ts";
import type { WaitFailure } from "./index_waits.ts";
import type { ResultCode } from "../state/results.ts";
import { type ServiceContext, waitError } from "./service_context.ts";
import type { Applied } from "../state/state_core.ts";

const SESSION_BYTES = 8;
const SECRET_BYTES = 16;
const TOKEN_BYTES = 16;

/** How long a command may be open before it is proposed again. */
const PROPOSE_AGAIN_MS = 1_000;

/** When to try again what was refused for want of room. */
const BUSY_RETRY_MS = 1_000;

/** A command that no session numbers: known by its token or its session's id. */
interface NamedCommand {
  /** Makes it as of what is applied now. */
  readonly make: (seen: number) => Command;
  bytes: Uint8Array;
  readonly untilMs: number;
  proposedMs: number;
  /** `undefined`: it took too long, and may yet be done. */
  readonly done: (applied: Applied | undefined) => void;
}

/** What a login leads to. */
export interface LoginOwner {
  /** From now on the client gets what comes for its user. */
  attach(client: Client, sessionId: string): void;
}

/** Brings clients into their sessions. */
export class Logins {
  readonly #context: ServiceContext;
  readonly #owner: LoginOwner;
  readonly #named = new Map<string, NamedCommand>();

  constructor(context: ServiceContext, owner: LoginOwner) {
    this.#context = context;
    this.#owner = owner;
  }

  /** Makes an account. */
  async register(client: Client, request: RegisterRequest): Promise<void> {
    const { id, user } = request;
    client.occupy();
    try {
      const phc = await this.#context.passwords.hash(request.password);
      const token = this.#context.randomHex(TOKEN_BYTES);
      const time = this.#context.wallMs();
      this.#propose(
        token,
        (seen) => ({ kind: "register", user, phc, token, seen, time }),
        (applied) => {
          this.#answerRegister(client, { id, user }, applied);
          client.release();
        },
      );
    } catch (error) {
      this.#refuse(client, id, error);
      client.release();
    }
  }

  /** Opens a session. */
  login(client: Client, request: LoginRequest): void {
    const { id, seen = 0 } = request;
    const untilMs = this.#untilMs();
    client.occupy();
    // What was acknowledged anywhere counts: a new account, a deleted one.
    this.#context.waits.newest(untilMs, (failure) => {
      if (failure !== undefined) return this.#late(client, id, failure);
      this.#context.waits.applied(seen, untilMs, (failure) => {
        if (failure !== undefined) return this.#late(client, id, failure);
        void this.#checkAndOpen(client, request);
      });
    });
  }

  /** Goes on with a session. */
  resume(client: Client, request: ResumeRequest): void {
    const { id, seen = 0 } = request;
    const untilMs = this.#untilMs();
    client.occupy();
    this.#context.waits.applied(seen, untilMs, (failure) => {
      if (failure !== undefined) return this.#late(client, id, failure);
      if (this.#resumeNow(client, request)) return client.release();
      // It may be opened elsewhere, and not applied here yet.
      this.#context.waits.newest(untilMs, (failure) => {
        if (failure !== undefined) return this.#late(client, id, failure);
        if (!this.#resumeNow(client, request)) {
          client.sayError(
            new WireError(
              "session-unknown",
              "There is no such session: log in again",
            ),
            { id },
          );
        }
        client.release();
      });
    });
  }

  /** Checks the password of somebody who is logged in; then goes on. */
  async confirm(
    client: Client,
    request: { readonly id: RequestId | undefined; readonly password: string },
    then: () => void,
  ): Promise<void> {
    const { id, password } = request;
    const { state, passwords } = this.#context;
    client.occupy();
    try {
      const userId = client.session?.userId ?? 0;
      const user = state.users.byId(userId);
      if (await passwords.verify(password, user?.phc)) then();
      else {
        const text = "The password is another: nothing was deleted";
        this.#refuse(client, id, new WireError("wrong-password", text));
      }
    } catch (error) {
      this.#refuse(client, id, error);
    }
    client.release();
  }

  /** A `register` or `open-session` is applied. */
  applied(applied: Applied): void {
    const { command, result } = applied;
    const key = command?.kind === "register"
      ? command.token
      : command?.kind === "open-session"
      ? command.session
      : undefined;
    const named = key === undefined ? undefined : this.#named.get(key);
    if (key === undefined || named === undefined) return;
    if (result.code === "late") {
      named.bytes = encodeCommand(named.make(applied.index));
      named.proposedMs = this.#context.nowMs();
      return this.#context.propose(named.bytes);
    }
    this.#named.delete(key);
    named.done(applied);
  }

  /** Proposes all that is open again. */
  proposeAll(): void {
    for (const named of this.#named.values()) this.#repeat(named);
  }

  /** Repeats what is open for long, and gives up what is open for too long. */
  tick(nowMs: number): void {
    for (const [key, named] of this.#named) {
      if (nowMs >= named.untilMs) {
        this.#named.delete(key);
        named.done(undefined);
      } else if (nowMs - named.proposedMs >= PROPOSE_AGAIN_MS) {
        this.#repeat(named);
      }
    }
  }

  #untilMs(): number {
    return this.#context.nowMs() + this.#context.limits.requestWaitMs;
  }

  #repeat(named: NamedCommand): void {
    named.proposedMs = this.#context.nowMs();
    this.#context.propose(named.bytes);
  }

  #propose(
    key: string,
    make: NamedCommand["make"],
    done: NamedCommand["done"],
  ): void {
    const bytes = encodeCommand(make(this.#context.state.applied.index));
    const proposedMs = this.#context.nowMs();
    const untilMs = this.#untilMs();
    this.#named.set(key, { make, bytes, untilMs, proposedMs, done });
    this.#context.propose(bytes);
  }

  #answerRegister(
    client: Client,
    asked: { id: RequestId | undefined; user: string },
    applied: Applied | undefined,
  ): void {
    const { id, user } = asked;
    if (applied === undefined) return this.#refuse(client, id, tooLate());
    const { result, index } = applied;
    if (result.code === "ok") return client.say(formatOk(id, { user, index }));
    this.#refuse(client, id, registerError(result.code, user));
  }

  async #checkAndOpen(client: Client, request: LoginRequest): Promise<void> {
    const { id, user: name, password } = request;
    const { state, passwords } = this.#context;
    try {
      const user = state.users.byName(name);
      const isRight = await passwords.verify(password, user?.phc);
      if (!isRight || user === undefined) throw wrongPassword();
      if (!client.isClosed) {
        return this.#open(client, { id, user: name, userId: user.id });
      }
    } catch (error) {
      this.#refuse(client, id, error);
    }
    client.release();
  }

  #open(
    client: Client,
    asked: { id: RequestId | undefined; user: string; userId: number },
  ): void {
    const { id, user, userId } = asked;
    const session = this.#context.randomHex(SESSION_BYTES);
    const secret = this.#context.randomHex(SECRET_BYTES);
    const secretHash = hashOf(secret).toString("hex");
    const time = this.#context.wallMs();
    this.#propose(
      session,
      (seen) => ({
        kind: "open-session",
        session,
        secretHash,
        user,
        userId,
        seen,
        time,
      }),
      (applied) => {
        if (applied?.result.code === "ok") {
          this.#owner.attach(client, session);
          const { index } = applied;
          client.say(
            formatOk(id, { user, session, secret, lastSeq: 0, index }),
          );
        } else {
          const code = applied?.result.code;
          this.#refuse(client, id, code ? loginError(code) : tooLate());
        }
        client.release();
      },
    );
  }

  /** @returns False where there is no such session, or another secret. */
  #resumeNow(client: Client, request: ResumeRequest): boolean {
    const { state } = this.#context;
    const session = state.sessions.get(request.session);
    const given = hashOf(request.secret);
    const wanted = session === undefined
      ? Buffer.alloc(given.length)
      : Buffer.from(session.secretHash, "hex");
    if (!timingSafeEqual(given, wanted) || session === undefined) return false;
    const user = state.users.byId(session.user);
    if (user === undefined) return false;
    if (client.isClosed) return true;
    this.#owner.attach(client, session.id);
    client.say(formatOk(request.id, {
      user: user.name,
      session: session.id,
      lastSeq: session.sequence,
      index: state.applied.index,
    }));
    return true;
  }

  #late(
    client: Client,
    id: RequestId | undefined,
    failure: WaitFailure,
  ): void {
    this.#refuse(client, id, waitError(failure));
    client.release();
  }

  #refuse(client: Client, id: RequestId | undefined, error: unknown): void {
    if (!(error instanceof WireError)) throw error;
    this.#context.counters.refusedRequests += 1;
    const isTransient = error.code === "busy" || error.code === "no-primary" ||
      error.code === "timeout";
    client.sayError(error, {
      id,
      retryMs: isTransient ? BUSY_RETRY_MS : undefined,
    });
  }
}

function hashOf(secret: string): Buffer {
  return createHash("sha256").update(secret).digest();
}

function wrongPassword(): WireError {
  return new WireError(
    "wrong-password",
    "There is no such user, or the password is another",
  );
}

function tooLate(): WireError {
  return new WireError(
    "timeout",
    "The group did not commit it in time: it may yet be done",
  );
}

function registerError(code: ResultCode, user: string): WireError {
  switch (code) {
    case "user-exists":
      return new WireError("name-taken", `"${user}" has an account already`);
    case "too-many-users":
      return new WireError(
        "busy",
        "The group has as many accounts as it takes",
      );
    default:
      return new WireError("invalid-message", `It was not taken: ${code}`);
  }
}

function loginError(code: ResultCode): WireError {
  switch (code) {
    case "unknown-user":
      return wrongPassword();
    case "too-many-sessions":
      return new WireError(
        "busy",
        "The group has as many sessions as it takes",
      );
    default:
      return new WireError("session-unknown", `Not logged in: ${code}`);
  }
}

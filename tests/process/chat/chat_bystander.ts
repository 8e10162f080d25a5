/** Two people who talk to each other all the time while somebody else does his worst. */

import { assert, assertEquals } from "@std/assert";
import {
  ChatConnection,
  type ChatPush,
} from "../../../clients/chat_connection.ts";
import { parseAddress } from "../../../protocol/address.ts";
import { readMessage } from "../../../protocol/chat_answers.ts";
import { bounded } from "../until.ts";
import { ChatFleet, type FleetSize } from "./chat_fleet.ts";
import type { ChatNode } from "./chat_node.ts";
import { assertHonestLogs, assertNowhere } from "./traces.ts";

/** Stands in every password of a test, and nowhere else. */
export const CANARY = "canary";

/** Everybody's. */
export const PASSWORD = `correct horse ${CANARY}`;

/** Between two requests: a test shares its cores with others. */
const PAUSE_MS = 5;

/** A request in so many is a list. */
const LIST_EVERY = 8;

/** One of the two. */
interface Talker {
  readonly user: string;
  readonly connection: ChatConnection;
  readonly secret: string;
  /** What came by itself, in order. */
  readonly pushed: ChatPush[];
  /** Texts that it has sent, each acknowledged. */
  readonly sent: string[];
}

/** A group under attack, and two of its clients that must not notice. */
export class ChatBystander implements AsyncDisposable {
  readonly fleet: ChatFleet;
  /** Requests that were answered. */
  answered = 0;
  /** The longest that one took, in ms. */
  slowestMs = 0;
  readonly #talkers: Talker[] = [];
  #running: Promise<unknown> = Promise.resolve();
  #failure: unknown;
  #isStopping = false;
  #epoch = 0;

  private constructor(size: FleetSize) {
    this.fleet = new ChatFleet({
      ...size,
      flags: [
        // No view may change but by the attack itself, however busy the machine.
        ...["--suspect-after", "5s", "--election", "5s"],
        ...["--log-level", "debug"],
        ...size.flags ?? [],
      ],
    });
  }

  /** Starts a group; the two are talking when this resolves. */
  static async start(size: FleetSize = {}): Promise<ChatBystander> {
    const started = new ChatBystander(size);
    try {
      const { fleet } = started;
      await fleet.startReady();
      await fleet.complete();
      const [a, b = a] = fleet.servers;
      await started.#join("bystander-1", a);
      await started.#join("bystander-2", b);
      started.#epoch = (await fleet.inSync()).view?.epoch.counter ?? 0;
      const [one, other] = started.#talkers;
      started.#running = Promise.all([
        started.#talk(one, other),
        started.#talk(other, one),
      ]);
      await started.more();
      return started;
    } catch (error) {
      await started[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Waits until so many further requests were answered. */
  async more(count = 6): Promise<void> {
    const wanted = this.answered + count;
    await this.fleet.until(
      `the bystanders have ${count} more answers`,
      () => {
        if (this.#failure !== undefined) throw this.#failure;
        return this.answered >= wanted;
      },
    );
  }

  /**
   * Ends the talk: every request was answered with "ok", every message has come
   * once and in order, all servers agree, the view is still the same, no log
   * line is forged, and no password is anywhere.
   */
  async assertUnharmed(): Promise<void> {
    this.#isStopping = true;
    await bounded("the bystanders have all answers", this.#running, {
      context: () => this.fleet.describe(),
    });
    if (this.#failure !== undefined) throw this.#failure;
    const [one, other] = this.#talkers;
    await this.#assertGot(one, other.sent);
    await this.#assertGot(other, one.sent);
    assertEquals(this.fleet.mishap, undefined);
    const { view } = await this.fleet.inSync();
    assertEquals(view?.epoch.counter, this.#epoch, this.fleet.describe());
    assertHonestLogs(this.fleet.nodes);
    const secrets = this.#talkers.map(({ secret }) => secret);
    await assertNowhere(this.fleet.nodes, [CANARY, ...secrets]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopping = true;
    for (const { connection } of this.#talkers) connection.close();
    await this.#running;
    await this.fleet[Symbol.asyncDispose]();
  }

  async #join(user: string, server: ChatNode): Promise<void> {
    const pushed: ChatPush[] = [];
    const connection = await ChatConnection.connect(
      parseAddress(server.clients),
      { onPush: (push) => pushed.push(push) },
    );
    const account = { user, password: PASSWORD };
    await connection.request({ type: "register", ...account });
    const { secret } = await connection.request({ type: "login", ...account });
    assert(typeof secret === "string");
    this.#talkers.push({ user, connection, secret, pushed, sent: [] });
  }

  async #talk(self: Talker, to: Talker): Promise<void> {
    const { user, connection, sent } = self;
    try {
      for (let count = 1; !this.#isStopping; count += 1) {
        const startMs = performance.now();
        if (count % LIST_EVERY === 0) {
          const fields = await connection.request({
            type: "list",
            linearizable: count % (2 * LIST_EVERY) === 0,
          });
          assert(Array.isArray(fields.messages));
        } else {
          const seq = sent.length + 1;
          const text = `${user} ${seq}`;
          const fields = await connection.send(to.user, text, seq);
          assertEquals(fields.seq, seq);
          sent.push(text);
        }
        this.answered += 1;
        const tookMs = performance.now() - startMs;
        this.slowestMs = Math.max(this.slowestMs, tookMs);
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      }
    } catch (error) {
      // Disposed of: what was open is of no interest any more.
      if (!this.#isStopping) this.#failure ??= error;
    }
  }

  /** All that was sent to it was pushed once, in order, and nothing else was said. */
  async #assertGot(self: Talker, sent: readonly string[]): Promise<void> {
    const { user, connection, pushed } = self;
    await this.fleet.until(
      `${user} has got all`,
      () => pushed.length >= sent.length,
      () => `${pushed.length} of ${sent.length}\n`,
    );
    const texts = pushed.map((push) =>
      push.type === "message" ? push.text : JSON.stringify(push)
    );
    assertEquals(texts, sent);
    const { messages } = await connection.request({
      type: "list",
      limit: 200,
      linearizable: true,
    });
    assert(Array.isArray(messages));
    const listed: unknown[] = messages;
    assertEquals(
      listed.map((one) => readMessage(one)?.text),
      sent.slice(-200),
    );
  }
}

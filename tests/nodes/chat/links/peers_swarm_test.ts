import { assert, assertEquals } from "@std/assert";
import type {
  PeerAddress,
  PeerInput,
} from "../../../../nodes/chat/links/peers.ts";
import type { StoreId } from "../../../../protocol/epoch.ts";
import { until } from "../../../process/until.ts";
import { Random } from "../../../sim/random.ts";
import { roundTrips } from "../../host/loopback.ts";
import { freeAddress, PeerNode, storeOf, WAITS } from "./peer_node.ts";

const EPOCH = { counter: 1, store: storeOf("a") };
const SESSION_MESSAGES_MAX = 1_000_000;

/** What one node has of one link. */
interface Session {
  /** Messages sent on it. */
  sent: number;
  /** Which of the sender's sessions the messages came from. */
  from: number | undefined;
  received: number;
}

/** One of a few nodes, which is restarted now and then. */
class Restarted {
  readonly id: string;
  readonly store: StoreId;
  readonly faults: string[] = [];
  readonly #listen = freeAddress();
  readonly #sessions = new Map<StoreId, Session>();
  node: PeerNode | undefined;
  #sessionCount = 0;

  constructor(number: number) {
    this.id = `server-${number}`;
    this.store = storeOf(String(number));
  }

  get asPeer(): PeerAddress {
    return { id: this.id, kind: "server", address: this.#listen };
  }

  get linked(): number {
    return this.#sessions.size;
  }

  start(group: readonly Restarted[]): void {
    this.#sessions.clear();
    this.node = new PeerNode({
      id: this.id,
      store: this.store,
      listen: this.#listen,
      peers: group.map(({ asPeer }) => asPeer),
    }, {
      onInputs: (inputs) => inputs.forEach((input) => this.#take(input)),
      waits: { ...WAITS, dialAnywayMs: 20 },
    });
  }

  async stop(): Promise<void> {
    await this.node?.links.close();
    this.node = undefined;
  }

  /** Sends the next numbers to everybody. */
  say(count: number): void {
    for (const [store, session] of this.#sessions) {
      for (let i = 0; i < count; i++) {
        session.sent += 1;
        this.node?.links.send(store, {
          kind: "heartbeat",
          epoch: EPOCH,
          round: session.sent,
          commit: this.#numberOf(session),
          isWritable: true,
        });
      }
    }
  }

  readonly #numbers = new Map<Session, number>();
  #numberOf(session: Session): number {
    return this.#numbers.get(session) ?? 0;
  }

  #take(input: PeerInput): void {
    switch (input.kind) {
      case "peer-up": {
        const { store } = input.peer;
        this.#check(!this.#sessions.has(store), `${store} is up twice`);
        const session = { sent: 0, from: undefined, received: 0 };
        this.#sessionCount += 1;
        this.#numbers.set(
          session,
          this.#sessionCount + Number(this.store) * SESSION_MESSAGES_MAX,
        );
        this.#sessions.set(store, session);
        return;
      }
      case "peer-down":
        this.#check(this.#sessions.delete(input.store), "down twice");
        return;
      case "peer-refused":
        this.#check(!this.#sessions.has(input.store), "refused and linked");
        return;
      case "message": {
        const session = this.#sessions.get(input.from);
        this.#check(session !== undefined, "a message without a link");
        if (session !== undefined) this.#receive(session, input);
      }
    }
  }

  /** What comes over one link is the beginning of what one link was given. */
  #receive(session: Session, { message }: PeerInput & { kind: "message" }) {
    assert(message.kind === "heartbeat");
    session.from ??= message.commit;
    session.received += 1;
    this.#check(session.from === message.commit, "two sessions on one link");
    this.#check(
      session.received === message.round,
      `number ${message.round} came, wanted ${session.received}`,
    );
  }

  #check(holds: boolean, text: string): void {
    if (!holds) this.faults.push(`${this.id}: ${text}`);
  }
}

Deno.test("peers: whatever happens to its nodes, links begin, end and speak in order, and all are linked in the end", async () => {
  const seed = Number(Deno.env.get("SEED") ?? Date.now() % 100_000);
  const random = new Random(seed);
  const group = [1, 2, 3, 4].map((number) => new Restarted(number));
  const about = () =>
    `SEED=${seed}\n${group.flatMap(({ faults }) => faults).join("\n")}`;
  try {
    for (const node of group) node.start(group);
    for (let step = 0; step < 120; step++) {
      const node = group[random.int(group.length)];
      switch (random.int(6)) {
        case 0:
          await node.stop();
          break;
        case 1:
          if (node.node === undefined) node.start(group);
          break;
        default:
          node.say(random.int(30));
      }
      await roundTrips(random.int(12));
    }
    for (const node of group) if (node.node === undefined) node.start(group);
    await until("all are linked", () => {
      for (const node of group) node.say(1);
      return group.every(({ linked }) => linked === group.length - 1);
    }, { context: about });
    await roundTrips(20);
    assertEquals(group.flatMap(({ faults }) => faults), [], about());
  } finally {
    for (const node of group) await node.stop();
  }
});

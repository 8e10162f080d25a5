import { assert, assertEquals } from "@std/assert";
import {
  DEFAULT_TIMING,
  type Peer,
} from "../../../../nodes/chat/replica/contract.ts";
import { PeerLinks } from "../../../../nodes/chat/links/peers.ts";
import { Replica } from "../../../../nodes/chat/replica/replica.ts";
import type { ReplicaParts } from "../../../../nodes/chat/replica/replica_parts.ts";
import type { StoreId } from "../../../../protocol/epoch.ts";
import type { LogEntry, LogPosition } from "../../../../protocol/replica.ts";
import type { AcceptorState } from "../../../../protocol/view.ts";
import { StorageError } from "../../../../storage/errors.ts";
import { FILE_HEADER_BYTES } from "../../../../storage/record_format.ts";
import type {
  SegmentDamage,
  SegmentLog,
} from "../../../../storage/segment_log.ts";
import { until } from "../../../process/until.ts";
import {
  appendAll,
  entriesOf,
  epochOf,
  openLog,
} from "../../../storage/log_fixture.ts";
import { simDisk } from "../../../storage/record_fixture.ts";
import { LISTEN } from "../../host/loopback.ts";
import {
  advertOf,
  helloOf,
  identityOf,
  KeptLog,
  storeOf,
  WAITS,
} from "../links/peer_node.ts";

const ENTRIES = entriesOf(1, 60);
const A = storeOf("a");
const B = storeOf("b");

/** A server of a group on loopback; its log reads all from a simulated disk. */
class Server implements AsyncDisposable {
  readonly replica: Replica;
  readonly log: SegmentLog;
  readonly applied: LogEntry[] = [];
  readonly errors: Error[] = [];
  readonly met: SegmentDamage[] = [];

  constructor(
    id: string,
    parts: {
      readonly store: StoreId;
      readonly log: SegmentLog;
      readonly votes: AcceptorState;
      readonly peers?: readonly { id: string; at: Server }[];
      readonly appliedIndex?: number;
      readonly mend?: (damage: SegmentDamage) => Promise<boolean>;
      readonly install?: () => LogPosition;
    },
  ) {
    const { store, log, votes, peers = [], mend } = parts;
    this.log = log;
    const identity = identityOf(id);
    const self: Peer = {
      ...{ id, store, kind: "server", priority: 0, group: A },
      incarnation: identity.incarnation,
    };
    const connect: ReplicaParts["connect"] = (onInputs) =>
      new PeerLinks({
        self: identity,
        listen: { host: LISTEN.hostname, port: 0 },
        peers: peers.map(({ id, at }) => ({
          id,
          kind: "server",
          address: at.replica.peers.address,
        })),
        hello: () => helloOf(store),
        silentMsMax: 60_000,
        waits: WAITS,
        log: new KeptLog(),
        onInputs,
        onIdTaken: () => {},
        advert: () => advertOf(id, store),
      });
    this.replica = new Replica({
      core: {
        self,
        founders: [],
        sticky: true,
        timing: DEFAULT_TIMING,
        seed: 1,
      },
      acceptorState: votes,
      acceptor: { saveNow: () => {} },
      directory: "data",
      log,
      appliedIndex: parts.appliedIndex ?? 0,
      events: {
        committed: (entries) => this.applied.push(...entries),
        groupChanged: () => {},
      },
      installSnapshot: () => {
        const base = parts.install?.();
        return base === undefined
          ? Promise.reject(new Error("There is no snapshot"))
          : Promise.resolve(base);
      },
      mendLog: (damage) => {
        this.met.push(damage);
        return mend?.(damage) ?? Promise.resolve(false);
      },
      onFatal: (error) => this.errors.push(error),
      journal: new KeptLog(),
      connect,
    });
  }

  /** Waits until it has applied all up to `index`. */
  async upTo(index: number): Promise<void> {
    await until(
      `all up to ${index} is applied`,
      () => this.replica.appliedIndex >= index,
      { context: () => `${this.replica.describe()} ${this.errors}` },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.replica.close();
    await this.log.close();
  }
}

/** Of a server alone in its view. */
function aloneVotes(): AcceptorState {
  const epoch = epochOf(1);
  return {
    promised: epoch,
    accepted: {
      epoch,
      group: A,
      voters: [A],
      members: [A],
      primary: A,
      nodes: { [A]: { id: "a", kind: "server", priority: 0 } },
      reason: "",
    },
    isDamaged: false,
  };
}

const NEW: AcceptorState = {
  promised: { counter: 0, store: storeOf("0") },
  accepted: undefined,
  isDamaged: false,
};

/** A log of all entries, with a rotten one in its third segment. */
async function rottenLog(): Promise<SegmentLog> {
  const disk = simDisk();
  const { log } = await openLog(disk, { tailBytesMax: 0 });
  await appendAll(log, ENTRIES);
  disk.flip(log.segments[2].path, FILE_HEADER_BYTES + 60, 1);
  return log;
}

async function emptyLog(): Promise<SegmentLog> {
  return (await openLog(simDisk())).log;
}

function mendFromMemory(log: SegmentLog) {
  return async (damage: SegmentDamage): Promise<boolean> => {
    const { firstIndex, lastIndex } = damage;
    await log.repair(damage, ENTRIES.slice(firstIndex - 1, lastIndex));
    return true;
  };
}

Deno.test("replica: rot met while it applies is mended, and it goes on", async () => {
  const log = await rottenLog();
  await using server = new Server("a", {
    store: A,
    log,
    votes: aloneVotes(),
    mend: mendFromMemory(log),
  });
  await server.upTo(61);
  assertEquals(server.applied.slice(0, 60), ENTRIES);
  assertEquals(server.met.map(({ segment }) => segment), [3]);
  assertEquals(server.errors, []);
});

Deno.test("replica: rot met while it applies that nobody can mend ends it", async () => {
  const log = await rottenLog();
  await using server = new Server("a", { store: A, log, votes: aloneVotes() });
  await until("it gives up", () => server.errors.length > 0);
  const [error] = server.errors;
  assert(error instanceof StorageError && error.code === "damaged");
  assert(server.applied.length < 60);
});

Deno.test("replica: rot met while another catches up is mended, and it catches up", async () => {
  const log = await rottenLog();
  await using b = new Server("b", {
    ...{ store: B, log: await emptyLog(), votes: NEW },
  });
  await using a = new Server("a", {
    ...{ store: A, log, votes: aloneVotes(), appliedIndex: 60 },
    peers: [{ id: "b", at: b }],
    mend: mendFromMemory(log),
  });
  await b.upTo(61);
  assertEquals(b.applied.slice(0, 60), ENTRIES);
  assertEquals(a.met.map(({ segment }) => segment), [3]);
  assertEquals([...a.errors, ...b.errors], []);
});

Deno.test("replica: rot that nobody can mend stays behind with a snapshot; others get that", async () => {
  const log = await rottenLog();
  await using b = new Server("b", {
    ...{ store: B, log: await emptyLog(), votes: NEW },
    install: () => log.base,
  });
  await using a = new Server("a", {
    ...{ store: A, log, votes: aloneVotes(), appliedIndex: 60 },
    peers: [{ id: "b", at: b }],
  });
  await until("the rot is met", () => a.met.length > 0);
  const [{ lastIndex }] = a.met;
  await a.replica.compact(lastIndex);
  await b.upTo(61);
  assertEquals(log.base.index, lastIndex);
  assertEquals(b.applied.at(-2), ENTRIES[59]);
  assertEquals([...a.errors, ...b.errors], []);
});

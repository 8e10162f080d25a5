import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertLessOrEqual,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import type { FrameLink } from "../../../../nodes/host/frame_link.ts";
import { SnapshotServer } from "../../../../nodes/chat/links/snapshot_server.ts";
import { pullSnapshot } from "../../../../nodes/chat/links/snapshot_transfer.ts";
import { WireError } from "../../../../protocol/errors.ts";
import { encodeFrame, FRAME } from "../../../../protocol/frame.ts";
import {
  encodeSnapshotAsk,
  encodeSnapshotGet,
  encodeSnapshotInfo,
} from "../../../../protocol/snapshot_codec.ts";
import { until } from "../../../process/until.ts";
import { KeptSink, KeptSource, snapshotOf } from "../state/kept_snapshot.ts";
import { PeerNode, storeOf } from "./peer_node.ts";

const A = storeOf("a");
const B = storeOf("b");

/** A node with snapshots, and a learner that wants one. */
class Two implements AsyncDisposable {
  readonly source: KeptSource;
  readonly sink = new KeptSink();
  readonly giver: PeerNode;
  readonly learner: PeerNode;
  /** Connections that the learner has made. */
  readonly links: FrameLink[] = [];
  readonly controller = new AbortController();
  onProgress: (chunks: number) => void = () => {};

  constructor(source: KeptSource, isWitness = false) {
    this.source = source;
    this.giver = new PeerNode({ id: "server-2", store: B }, {
      ...!isWitness && {
        serveSnapshots: (link, ask) => this.#server().serve(link, ask),
      },
    });
    this.learner = new PeerNode({
      id: "server-1",
      store: A,
      peers: [this.giver.asPeer],
    });
  }

  #kept: SnapshotServer | undefined;
  #server(): SnapshotServer {
    this.#kept ??= new SnapshotServer(this.source, this.giver.log);
    return this.#kept;
  }

  async connect(): Promise<FrameLink> {
    const { signal } = this.controller;
    const link = await this.learner.links.connect(B, signal);
    this.links.push(link);
    return link;
  }

  async pull() {
    await this.learner.untilFate(B, ["up"]);
    return await pullSnapshot({
      connect: () => this.connect(),
      sink: this.sink,
      signal: this.controller.signal,
      onProgress: ({ chunks }) => this.onProgress(chunks),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.learner.links.close();
    await this.giver.links.close();
  }
}

function whole(source: KeptSource): Uint8Array {
  const bytes = source.now?.chunks.flatMap((chunk) => Array.from(chunk)) ?? [];
  return Uint8Array.from(bytes);
}

Deno.test("snapshots: one is pulled piece by piece, and said how far", async () => {
  await using two = new Two(
    new KeptSource(snapshotOf(900, { chunks: 20, bytes: 5_000 })),
  );
  const progress: number[] = [];
  two.onProgress = (chunks) => progress.push(chunks);
  const info = await two.pull();
  assertEquals(info, two.source.now?.info);
  assertEquals(two.sink.bytes, whole(two.source));
  assertEquals(two.sink.finished, 1);
  assertEquals(progress, Array.from({ length: 20 }, (_, i) => i + 1));
  // The link between the two is another one, and stands.
  assertEquals(two.learner.fate(B), ["up"]);
});

Deno.test("snapshots: never more than a few pieces are on the way", async () => {
  const source = new KeptSource(snapshotOf(9, { chunks: 30, bytes: 200_000 }));
  await using two = new Two(source);
  let most = 0;
  two.onProgress = (chunks) => {
    most = Math.max(most, source.served.length - chunks);
  };
  await two.pull();
  assertEquals(source.served, Array.from({ length: 30 }, (_, i) => i));
  assertLessOrEqual(most, 4);
});

Deno.test("snapshots: after a lost connection it goes on where it stopped", async () => {
  const source = new KeptSource(snapshotOf(9, { chunks: 30, bytes: 1_000 }));
  await using two = new Two(source);
  two.onProgress = (chunks) => {
    if (chunks % 10 === 5 && two.links.length <= (chunks + 5) / 10) {
      two.links.at(-1)?.abort(new WireError("link-lost", "cut"));
    }
  };
  await two.pull();
  assertEquals(two.links.length, 4);
  assertEquals(two.sink.begun.length, 1);
  assertEquals(two.sink.bytes, whole(source));
  // What was on the way when it was cut is sent again, and nothing else.
  assertLessOrEqual(source.served.length, 30 + 3 * 4);
});

Deno.test("snapshots: what an earlier process has got is not got again, be it all", async () => {
  for (const count of [1, 7, 29, 30]) {
    const source = new KeptSource(snapshotOf(9, { chunks: 30, bytes: 1_000 }));
    await using two = new Two(source);
    two.sink.found = source.now?.chunks.slice(0, count) ?? [];
    await two.pull();
    assertEquals(two.sink.bytes, whole(source));
    assertEquals(source.served.length, 30 - count);
  }
});

Deno.test("snapshots: when it is replaced meanwhile, the new one is pulled from its beginning", async () => {
  const source = new KeptSource(snapshotOf(9, { chunks: 30, bytes: 1_000 }));
  await using two = new Two(source);
  source.onChunk = (chunk) => {
    if (chunk === 7 && source.now?.info.index === 9) {
      source.now = snapshotOf(12, { chunks: 5, bytes: 2_000 });
    }
  };
  const info = await two.pull();
  assertEquals(info.index, 12);
  assertEquals(two.sink.begun.map(({ index }) => index), [9, 12]);
  assertEquals(two.sink.bytes, whole(source));
});

Deno.test("snapshots: when it is replaced between two connections, the new one is pulled", async () => {
  const source = new KeptSource(snapshotOf(9, { chunks: 30, bytes: 1_000 }));
  await using two = new Two(source);
  two.onProgress = (chunks) => {
    if (chunks !== 5 || two.links.length > 1) return;
    source.now = snapshotOf(12, { chunks: 5, bytes: 2_000 });
    two.links[0].abort(new WireError("link-lost", "cut"));
  };
  assertEquals((await two.pull()).index, 12);
  assertEquals(two.sink.begun.map(({ index }) => index), [9, 12]);
  assertEquals(two.sink.bytes, whole(source));
});

Deno.test("snapshots: a broken one is pulled anew, a few times", async () => {
  const good = snapshotOf(9, { chunks: 3, bytes: 1_000 });
  const broken = { ...good, info: { ...good.info, digest: "0" } };
  {
    const source = new KeptSource(broken);
    await using two = new Two(source);
    const finish = two.sink.finish.bind(two.sink);
    two.sink.finish = () => {
      source.now = two.sink.finished === 0 ? broken : good;
      return finish();
    };
    await two.pull();
    assertEquals(two.sink.finished, 3);
  }
  await using two = new Two(new KeptSource(broken));
  const error = await assertRejects(() => two.pull(), WireError, "is broken");
  assertEquals(error.code, "invalid-message");
  assertEquals(two.sink.finished, 3);
});

Deno.test("snapshots: fewer or more bytes than were promised are broken", async () => {
  const good = snapshotOf(9, { chunks: 3, bytes: 1_000 });
  for (const bytes of [2_999, 3_001]) {
    const now = { ...good, info: { ...good.info, bytes } };
    await using two = new Two(new KeptSource(now));
    await assertRejects(() => two.pull(), WireError, `of ${bytes} bytes came`);
    assertEquals(two.sink.finished, 0);
  }
});

Deno.test("snapshots: where there is none that is said, and it is given up", async () => {
  {
    await using two = new Two(new KeptSource());
    const error = await assertRejects(
      () => two.pull(),
      WireError,
      "no snapshot",
    );
    assertEquals(error.code, "no-snapshot");
  }
  await using two = new Two(new KeptSource(), true);
  const error = await assertRejects(() => two.pull(), WireError, "no data");
  assertEquals(error.code, "no-snapshot");
  assertEquals(two.links.length, 1);
  const unknown = await assertRejects(
    () => two.learner.links.connect(storeOf("f"), two.controller.signal),
    WireError,
    "where 000000000000000f is",
  );
  assertEquals(unknown.code, "no-snapshot");
});

Deno.test("snapshots: an error of the sink ends it, and is the sink's", async () => {
  await using two = new Two(
    new KeptSource(snapshotOf(9, { chunks: 3, bytes: 10 })),
  );
  two.sink.write = () => Promise.reject(new RangeError("disk full"));
  await assertRejects(() => two.pull(), RangeError, "disk full");
});

Deno.test("snapshots: an error of the source is said without its text, and others are served", async () => {
  const source = new KeptSource(snapshotOf(9, { chunks: 3, bytes: 10 }));
  await using two = new Two(source);
  const { onChunk } = source;
  source.onChunk = () => {
    throw new RangeError("/secret/path is rotten");
  };
  const error = await assertRejects(() => two.pull(), WireError);
  assertEquals(error.code, "no-snapshot");
  assert(!error.message.includes("secret"));
  source.onChunk = onChunk;
  await two.pull();
});

Deno.test("snapshots: it can be given up at any time", async () => {
  const source = new KeptSource(snapshotOf(9, { chunks: 300, bytes: 1_000 }));
  await using two = new Two(source);
  two.onProgress = (chunks) => {
    if (chunks === 50) two.controller.abort();
  };
  await assertRejects(() => two.pull());
  await until("its link is over", () => source.served.length < 300);
  two.controller.abort();
  const error = await assertRejects(() =>
    pullSnapshot({
      connect: () => Promise.reject(new Error("not to be called")),
      sink: two.sink,
      signal: two.controller.signal,
    })
  );
  assertInstanceOf(error, DOMException);
});

Deno.test("snapshots: who asks for what is not there is refused, and more than a few wait", async () => {
  const source = new KeptSource(snapshotOf(9, { chunks: 3, bytes: 10 }));
  await using two = new Two(source);
  await two.learner.untilFate(B, ["up"]);
  const ask = async (bytes: Uint8Array) => {
    const link = await two.connect();
    link.send(encodeSnapshotAsk());
    await link.read();
    link.send(bytes);
    const error = await assertRejects(() => link.read(), WireError);
    await link.close(error);
    return `${error.code} ${error.message}`;
  };
  assertStringIncludes(
    await ask(encodeSnapshotGet({ index: 9, chunk: 3 })),
    "invalid-message Cannot send chunk 3: the snapshot has 3",
  );
  assertStringIncludes(await ask(encodeFrame(FRAME.beat + 1)), "kind 7");
  assertStringIncludes(
    await ask(encodeFrame(FRAME.snapshotGet)),
    "length is 0 bytes, wanted 12",
  );
  const links: FrameLink[] = [];
  for (let i = 0; i < 4; i++) {
    const link = await two.connect();
    link.send(encodeSnapshotAsk());
    await link.read();
    links.push(link);
  }
  const fifth = await two.connect();
  fifth.send(encodeSnapshotAsk());
  const error = await assertRejects(() => fifth.read(), WireError);
  assertEquals(error.code, "busy");
  for (const link of [...links, fifth]) await link.close();
  await two.pull();
});

Deno.test("snapshots: pieces that were not asked for, or in another order, are refused", async () => {
  const { info } = snapshotOf(9, { chunks: 9, bytes: 10 });
  for (const chunk of [1, 4, 9]) {
    const payload = new Uint8Array(13);
    payload.set([0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, chunk, 1]);
    await using giver = new PeerNode({ id: "server-2", store: B }, {
      serveSnapshots: async (link) => {
        link.send(encodeSnapshotInfo(info));
        link.send(encodeFrame(FRAME.snapshotChunk, payload));
        await link.read().catch(() => {});
        await link.close();
      },
    });
    await using learner = new PeerNode({
      id: "server-1",
      store: A,
      peers: [giver.asPeer],
    });
    await learner.untilFate(B, ["up"]);
    const controller = new AbortController();
    let connections = 0;
    const error = await assertRejects(
      () =>
        pullSnapshot({
          connect: () => {
            connections += 1;
            if (connections > 1) controller.abort();
            return learner.links.connect(B, controller.signal);
          },
          sink: new KeptSink(),
          signal: controller.signal,
        }),
    );
    assertInstanceOf(error, WireError);
    assertEquals(connections, 2);
  }
});

/** Snapshots in memory, and a sink that remembers what it was told. */

import { createHash } from "node:crypto";
import type { SnapshotSource } from "../../../../nodes/chat/links/snapshot_server.ts";
import type { SnapshotSink } from "../../../../nodes/chat/links/snapshot_transfer.ts";
import type { SnapshotInfo } from "../../../../protocol/snapshot_codec.ts";
import { joined } from "../../../protocol/splits.ts";
import { storeOf } from "../links/peer_node.ts";

/** A snapshot in pieces. */
export interface KeptSnapshot {
  readonly info: SnapshotInfo;
  readonly chunks: readonly Uint8Array[];
}

/** A snapshot of `index`, of so many pieces of so many bytes. */
export function snapshotOf(
  index: number,
  size: { chunks: number; bytes: number },
): KeptSnapshot {
  const chunks = Array.from(
    { length: size.chunks },
    (_, i) => new Uint8Array(size.bytes).fill(index + i),
  );
  const info: SnapshotInfo = {
    index,
    epoch: { counter: 1, store: storeOf("a") },
    chunks: size.chunks,
    bytes: size.chunks * size.bytes,
    digest: digestOf(joined(chunks)),
  };
  return { info, chunks };
}

function digestOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Serves one snapshot, until it is replaced. */
export class KeptSource implements SnapshotSource {
  now: KeptSnapshot | undefined;
  /** Called before each piece is handed out. */
  onChunk: (chunk: number) => void = () => {};
  /** Pieces handed out. */
  served: number[] = [];

  constructor(now?: KeptSnapshot) {
    this.now = now;
  }

  newest(): SnapshotInfo | undefined {
    return this.now?.info;
  }

  chunk(index: number, chunk: number): Promise<Uint8Array | undefined> {
    this.onChunk(chunk);
    this.served.push(chunk);
    const isThere = this.now?.info.index === index;
    return Promise.resolve(isThere ? this.now?.chunks[chunk] : undefined);
  }
}

/** Keeps what is pulled. */
export class KeptSink implements SnapshotSink {
  readonly begun: SnapshotInfo[] = [];
  pieces: Uint8Array[] = [];
  finished = 0;

  get bytes(): Uint8Array {
    return joined(this.pieces);
  }

  /** What an earlier process has written. */
  found: Uint8Array[] = [];

  begin(info: SnapshotInfo): Promise<{ chunks: number; bytes: number }> {
    this.begun.push(info);
    this.pieces = this.found;
    this.found = [];
    const { length } = this.bytes;
    return Promise.resolve({ chunks: this.pieces.length, bytes: length });
  }

  write(bytes: Uint8Array): Promise<void> {
    this.pieces.push(bytes.slice());
    return Promise.resolve();
  }

  finish(): Promise<boolean> {
    this.finished += 1;
    return Promise.resolve(
      digestOf(this.bytes) === this.begun.at(-1)?.digest,
    );
  }
}

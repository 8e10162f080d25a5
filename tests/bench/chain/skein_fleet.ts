/** Skein's own chain: four processes, the last one prints to the bench. */

import { ByteSink } from "../byte_sink.ts";
import type { Child } from "../child.ts";
import type { Workbench } from "../workbench.ts";
import { HOPS } from "./peers.ts";

const START_WAIT_MS = 20_000;

const MAIN = new URL("../../../main.ts", import.meta.url).pathname;

/** A running chain. */
export interface SkeinFleet {
  /** Where the head listens. */
  readonly port: number;
  /** Head first. */
  readonly nodes: readonly Child[];
  /** What the tail has printed. */
  readonly sink: ByteSink;
}

/** Starts a chain, tail first, and reads what its tail delivers. */
export async function startSkeinFleet(bench: Workbench): Promise<SkeinFleet> {
  const nodes: Child[] = [];
  const sink = new ByteSink();
  let next: number | undefined;
  for (let hop = HOPS; hop > 0; hop--) {
    const isTail = next === undefined;
    const onward = isTail ? [] : ["-n", `127.0.0.1:${next}`];
    const node = bench.start(Deno.execPath(), {
      args: [
        "run",
        "-A",
        MAIN,
        "chain",
        "-l",
        "127.0.0.1:0",
        ...onward,
        "--id",
        `hop${hop}`,
        "--exit-with-parent",
      ],
      isRead: isTail,
    });
    if (isTail) void sink.drainOutput(node.stdout);
    const said = /Listening on 127\.0\.0\.1:(\d+)/;
    next = Number((await node.said(said, START_WAIT_MS))[1]);
    nodes.unshift(node);
  }
  return { port: next ?? 0, nodes, sink };
}

/** What must hold of a chain, whatever breaks. */

import type { ClientId } from "../../protocol/ids.ts";
import type { World } from "./world.ts";

/** What the checker needs to see of a node. */
export interface CheckedNode {
  readonly index: number;
  readonly isTail: boolean;
  readonly spool: boolean;
  readonly core: {
    readonly queuedBytes: number;
    readonly sourceCount: number;
    readonly delivery: { readonly gaps: number };
  };
}

/** Above its bound a queue may grow by one read of every connection. */
const QUEUE_SLACK_BYTES = 200_000;

interface Sent {
  /** Messages written by this client so far. */
  written: number;
  /** Messages that the tail has put out. */
  put: number;
  /** As much of it as can no longer be lost. */
  durable: number;
  /** Whether most of its messages are long. */
  readonly isHeavy: boolean;
  /** For plain text: whether the entry node may have lost some by a crash. */
  mayLose: boolean;
  /** For plain text: the node it writes to. */
  entry: number | undefined;
  /** Its connection was closed cleanly after all was written. */
  wasClosed: boolean;
}

/**
 * Per client: what the tail puts out is what was sent, in order, once; nothing
 * is acknowledged that the tail has not put out; bounds hold.
 */
export class ChainChecker {
  readonly failures: string[] = [];
  /** The node whose output is checked. */
  tail: CheckedNode | undefined;
  readonly #world: World;
  readonly #clients = new Map<ClientId, Sent>();
  #rest = "";

  constructor(world: World) {
    this.#world = world;
  }

  /** Messages put out by the tail. */
  get messages(): number {
    let count = 0;
    for (const { put } of this.#clients.values()) count += put;
    return count;
  }

  /** Whether all that must arrive has arrived. */
  get isComplete(): boolean {
    return [...this.#clients.values()].every((sent) =>
      sent.mayLose || sent.put === sent.written
    );
  }

  fail(text: string): void {
    this.failures.push(text);
    this.#world.note(() => `FAILURE ${text}`);
  }

  /** Makes a client's next messages. */
  write(client: ClientId, messages: number): Uint8Array {
    const sent = this.#sent(client);
    let text = "";
    for (let count = 0; count < messages; count++) {
      const isLong = this.#world.random.chance(sent.isHeavy ? 0.9 : 0.05);
      const padding = "x".repeat(this.#world.random.int(isLong ? 3_000 : 60));
      text += `${client} ${sent.written} ${padding}\n`;
      sent.written += 1;
    }
    return new TextEncoder().encode(text);
  }

  /** A plain-text client writes to this node. */
  connected(client: ClientId, entry: number): void {
    this.#sent(client).entry = entry;
  }

  /** A plain-text connection was closed by the node after all was written. */
  closed(client: ClientId): void {
    this.#sent(client).wasClosed = true;
  }

  /** A plain-text connection broke. */
  broke(client: ClientId): void {
    this.#sent(client).mayLose = true;
  }

  /** What a crashed node had only in memory is gone, and only plain text minds. */
  crashed(node: CheckedNode): void {
    for (const sent of this.#clients.values()) {
      if (sent.entry === node.index && !sent.wasClosed) sent.mayLose = true;
    }
  }

  /** The tail puts out bytes; they need not end with a message. */
  put(node: CheckedNode, bytes: Uint8Array): void {
    if (node !== this.tail) return this.fail(`n${node.index} is not the tail`);
    const lines = (this.#rest + new TextDecoder().decode(bytes)).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#putLine(line);
  }

  /** All that was put out so far can no longer be lost. */
  durable(node: CheckedNode): void {
    if (node !== this.tail) return;
    for (const sent of this.#clients.values()) sent.durable = sent.put;
  }

  /** A client was told that its first `messages` messages are delivered. */
  acknowledged(client: ClientId, messages: number): void {
    const { durable } = this.#sent(client);
    if (messages > durable) {
      this.fail(
        `client ${client} was told of ${messages} messages, the tail has ${durable}`,
      );
    }
  }

  checkNode(
    node: CheckedNode,
    bounds: { queueBytesMax: number; links: number },
  ): void {
    const { queuedBytes, sourceCount, delivery } = node.core;
    const { queueBytesMax, links } = bounds;
    if (sourceCount > links) {
      this.fail(
        `n${node.index} keeps ${sourceCount} sources of ${links} links`,
      );
    }
    if (queuedBytes > queueBytesMax + QUEUE_SLACK_BYTES) {
      this.fail(
        `n${node.index} queues ${queuedBytes} of ${queueBytesMax} bytes`,
      );
    }
    if (delivery.gaps > 0) this.fail(`n${node.index} saw a gap`);
  }

  checkEnd(): void {
    for (const [client, sent] of this.#clients) {
      const mustAll = sent.entry === undefined || sent.wasClosed;
      if ((mustAll || !sent.mayLose) && sent.put !== sent.written) {
        this.fail(
          `client ${client} wrote ${sent.written} messages, the tail has ${sent.put}`,
        );
      }
    }
  }

  #putLine(line: string): void {
    const match = /^(\d+) (\d+) x*$/.exec(line);
    if (match === null) {
      return this.fail(
        `the tail put out a torn message "${line.slice(0, 60)}"`,
      );
    }
    const sent = this.#sent(BigInt(match[1]));
    const number = Number(match[2]);
    if (number !== sent.put) {
      return this.fail(
        `client ${
          match[1]
        }: the tail put out message ${number}, wanted ${sent.put}`,
      );
    }
    sent.put += 1;
  }

  #sent(client: ClientId): Sent {
    const known = this.#clients.get(client);
    if (known !== undefined) return known;
    const sent: Sent = {
      written: 0,
      put: 0,
      durable: 0,
      isHeavy: this.#world.random.chance(0.2),
      mayLose: false,
      entry: undefined,
      wasClosed: false,
    };
    this.#clients.set(client, sent);
    return sent;
  }
}

/** A client's connection that speaks lines. */

import { WireError } from "../../../protocol/errors.ts";
import { formatMore, formatPlain } from "../../../protocol/mesh_answers.ts";
import {
  MESH_REQUEST_BYTES_MAX,
  type ToClient,
} from "../../../protocol/mesh.ts";
import { LineReader, type LineTaker } from "../../host/line_reader.ts";
import type { Link } from "../../host/link.ts";
import type { ClientTransport } from "./client.ts";
import type { Style } from "./fan_out.ts";
import { encodeMessage } from "./ring.ts";
import { Subscriber, type SubscriberEvents } from "./subscriber.ts";

export class LineConnection implements ClientTransport {
  readonly label: string;
  readonly isOperator: boolean;
  readonly subscriber: Subscriber;
  readonly #reader: LineReader;

  constructor(link: Link, events: SubscriberEvents) {
    this.label = link.label;
    this.isOperator = link.isLocal;
    this.subscriber = new Subscriber(link, "lines", events);
    this.#reader = new LineReader(link, MESH_REQUEST_BYTES_MAX);
  }

  /** Hands all lines to `taker`; the first bytes were read already. */
  async read(first: Uint8Array, taker: LineTaker): Promise<void> {
    try {
      await this.#reader.read(first, taker);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.subscriber.abort();
    }
  }

  readOn(): void {
    this.#reader.readOn();
  }

  stopReading(): void {
    this.#reader.stop();
  }

  encodeLast(message: ToClient, style: Style): Uint8Array {
    const text = style === "more" ? formatMore(message) : formatPlain(message);
    return encodeMessage(text ?? "", "lines");
  }

  close(): void {
    this.subscriber.close();
  }

  check(nowMs: number): WireError | undefined {
    return this.subscriber.check(nowMs) ?? this.#reader.check(nowMs);
  }
}

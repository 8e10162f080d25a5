/** Both ends of discovery on the network of a namespace, and bytes of a test's own. */

import { assertEquals } from "@std/assert";
import {
  type Answerer,
  type AnswererCounters,
  type AnswererOptions,
  openAnswerer,
} from "../../../../nodes/host/discovery/answerer.ts";
import { DISCOVER_UDP } from "../../../../nodes/host/discovery/discover_flags.ts";
import type {
  Finder,
  FinderOptions,
  Sighting,
} from "../../../../nodes/host/discovery/finder.ts";
import { openFinder } from "../../../../nodes/host/discovery/open_finder.ts";
import type { Log, LogFields } from "../../../../nodes/host/log.ts";
import type { Address } from "../../../../protocol/address.ts";
import {
  DATAGRAM_BYTES,
  DISCOVERY_PORT,
} from "../../../../protocol/discovery.ts";
import {
  decodeDatagram,
  encodeQuestionDatagram,
} from "../../../../protocol/discovery_codec.ts";
import type { DiscoveryQuestion } from "../../../../protocol/discovery_words.ts";
import { RunningProcess } from "../../../process/running_process.ts";
import { until } from "../../../process/until.ts";
import { advertOf, questionOf } from "../../../protocol/discovery_messages.ts";
import { bytesOf } from "../../../protocol/splits.ts";

/** The cluster key of these tests. */
export const KEY = bytesOf("a key of sixteen bytes");

/** Where a question reaches all who share the port. */
export const EVERYBODY: Address = {
  host: "127.255.255.255",
  port: DISCOVERY_PORT,
};

/** Keeps what would be logged. */
export class KeptLog implements Log {
  readonly lines: { readonly message: string; readonly fields: LogFields }[] =
    [];
  debug(): void {}
  info(message: string, fields: LogFields = {}): void {
    this.lines.push({ message, fields });
  }
  warn(message: string, fields: LogFields = {}): void {
    this.lines.push({ message, fields });
  }
  error(message: string, fields: LogFields = {}): void {
    this.lines.push({ message, fields });
  }
}

/** An answerer in this process. */
export class OpenAnswerer implements Disposable {
  readonly log = new KeptLog();
  readonly #answerer: Answerer;

  constructor(changes: Partial<AnswererOptions> = {}) {
    this.#answerer = openAnswerer({
      where: DISCOVER_UDP,
      ...{ service: "chat", cluster: "skein", log: this.log },
      advert: () => advertOf(),
      ...changes,
    });
  }

  get counters(): AnswererCounters {
    return this.#answerer.counters;
  }

  /** Waits until so many datagrams were refused for this reason. */
  async refused(
    reason: keyof AnswererCounters["refused"],
    count = 1,
  ): Promise<void> {
    await until(
      `${count} times "${reason}"`,
      () => this.counters.refused[reason] >= count,
      { context: () => JSON.stringify(this.counters) },
    );
    assertEquals(this.counters.refused[reason], count);
  }

  [Symbol.dispose](): void {
    this.#answerer.close();
  }
}

/** A finder, and what it has sighted. */
export class OpenFinder implements Disposable {
  readonly sightings: Sighting[] = [];
  readonly log = new KeptLog();
  readonly finder: Finder;

  constructor(changes: Partial<FinderOptions> = {}) {
    this.finder = openFinder({
      where: DISCOVER_UDP,
      ...{ service: "chat", cluster: "skein", log: this.log },
      onSighting: (sighting) => this.sightings.push(sighting),
      ...changes,
    });
  }

  /** The names of the nodes that were sighted, each once. */
  get names(): string[] {
    return Array.from(new Set(this.sightings.map(({ advert }) => advert.id)))
      .toSorted();
  }

  /** Asks again and again until `look` finds something among what is sighted. */
  async asking<T>(what: string, look: () => T) {
    return await until(what, () => {
      this.finder.ask();
      return look();
    }, { context: () => this.describe() });
  }

  /** Waits until so many answers were refused for this reason. */
  async refused(reason: string, count = 1): Promise<void> {
    await until(
      `${count} times "${reason}"`,
      () => this.finder.counters.refused[reason] >= count,
      { context: () => this.describe() },
    );
  }

  describe(): string {
    return JSON.stringify([this.finder.counters, this.sightings.slice(-5)]);
  }

  [Symbol.dispose](): void {
    this.finder.close();
  }
}

/** A socket whose bytes are the test's own. */
export class RawSocket implements Disposable {
  /** What has come, oldest first. */
  readonly datagrams: { readonly bytes: Uint8Array; readonly from: Address }[] =
    [];
  readonly #conn: Deno.DatagramConn;
  readonly #over: Promise<void>;

  constructor(at: { readonly host?: string; readonly port?: number } = {}) {
    const { host = "127.0.0.1", port = 0 } = at;
    this.#conn = Deno.listenDatagram({
      ...{ transport: "udp", hostname: host, port },
      ...{ reuseAddress: port !== 0, loopback: true },
    });
    this.#over = this.#read();
  }

  get address(): Address {
    const { addr } = this.#conn;
    if (addr.transport !== "udp") throw new Error("No UDP");
    return { host: addr.hostname, port: addr.port };
  }

  async send(bytes: Uint8Array, to: Address = EVERYBODY): Promise<void> {
    const { host, port } = to;
    await this.#conn.send(bytes, { transport: "udp", hostname: host, port });
  }

  /** Sends a question under this key. */
  async ask(
    changes: Partial<DiscoveryQuestion> = {},
    key?: Uint8Array,
  ): Promise<Uint8Array> {
    const question = questionOf({ keyed: key !== undefined, ...changes });
    const bytes = encodeQuestionDatagram(question, key);
    await this.send(bytes);
    return bytes;
  }

  async join(group: string, at: string): Promise<void> {
    await this.#conn.joinMulticastV4(group, at);
  }

  /** Waits for so many datagrams in all. */
  async received(count: number): Promise<void> {
    await until(
      `${count} datagrams come`,
      () => this.datagrams.length >= count,
      { context: () => `${this.datagrams.length} came` },
    );
  }

  /** Who answered, by name, sorted. */
  names(key?: Uint8Array): string[] {
    return this.datagrams.map(({ bytes }) => {
      const read = decodeDatagram(bytes, key);
      return read.kind === "answer" ? read.answer.advert.id : read.kind;
    }).toSorted();
  }

  /** Closes it, with its last read over. */
  async closed(): Promise<void> {
    this[Symbol.dispose]();
    await this.#over;
  }

  [Symbol.dispose](): void {
    try {
      this.#conn.close();
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    }
  }

  async #read(): Promise<void> {
    const buffer = new Uint8Array(2 * DATAGRAM_BYTES);
    for (;;) {
      try {
        const [bytes, from] = await this.#conn.receive(buffer);
        if (from.transport !== "udp") continue;
        this.datagrams.push({
          bytes: bytes.slice(),
          from: { host: from.hostname, port: from.port },
        });
      } catch {
        return; // Closed.
      }
    }
  }
}

/** Answerers in a process of their own. */
export class AnswererProcess implements AsyncDisposable {
  readonly process: RunningProcess;

  constructor(names: readonly string[], under: readonly string[] = []) {
    const { pathname } = new URL("answerer_child.ts", import.meta.url);
    this.process = new RunningProcess({
      name: `answerers ${names.join(", ")}`,
      command: [
        ...under,
        ...[Deno.execPath(), "run", "--quiet", "-A", "--no-check", pathname],
        ...names,
      ],
      folder: Deno.cwd(),
    });
  }

  async ready(): Promise<void> {
    await this.process.until(
      "it is ready",
      () => this.process.outputText().startsWith("ready"),
    );
  }

  /** The counters of its first one. */
  async counters(): Promise<AnswererCounters> {
    const { process } = this;
    const before = process.outputText().split("\n").length;
    await process.feed(bytesOf("?\n"));
    const line = await process.until("it tells its counters", () => {
      const lines = process.outputText().split("\n");
      return lines.length > before ? lines.at(-2) : undefined;
    });
    return JSON.parse(line);
  }

  /** Time of processors that it has used, in milliseconds. */
  cpuMs(): number {
    const stat = Deno.readTextFileSync(`/proc/${this.process.pid}/stat`);
    // proc(5): after the name come the state and ten more, then the two times.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) * 10;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]();
  }
}

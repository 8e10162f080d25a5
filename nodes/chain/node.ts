/** Wires a chain node's core to sockets, disk, terminal and signals. */

import { type Address, formatAddress } from "../../protocol/address.ts";
import type { LinkId } from "../../protocol/core.ts";
import { WireError } from "../../protocol/errors.ts";
import { encodeError } from "../../protocol/handshake.ts";
import { clientIdOf } from "../../protocol/ids.ts";
import { DirectoryLock } from "../../storage/directory_lock.ts";
import { LocalDisk } from "../../storage/disk.ts";
import { StorageError } from "../../storage/errors.ts";
import { type Admin, startAdmin } from "../host/admin.ts";
import { orExit, VERSION } from "../host/flags.ts";
import {
  backoffMs,
  dial,
  drawIncarnation,
  type Greeting,
  type Link,
} from "../host/link.ts";
import { Listener } from "../host/listener.ts";
import { type OpenLog, openLog } from "../host/log.ts";
import { openMetrics } from "../host/metrics.ts";
import { StartError, stopOnSignals } from "../host/process.ts";
import type { ChainEffect, ChainInput } from "./contract.ts";
import { ChainCore, SOURCES_MAX } from "./core.ts";
import { type ChainFlags, defaultNodeId, parseChainFlags } from "./flags.ts";
import { Narrator } from "./narrator.ts";
import { FileOutput, type Output, StandardOutputOf } from "./output.ts";
import { registerChainMetrics } from "./metrics.ts";
import { ProgressSpool, QueueSpool } from "./spool.ts";
import type { SourceKind } from "./source.ts";

/** Longest wait between two attempts to reach a successor. */
const DIAL_WAIT_MS_MAX = 1_000;

/** How long a stop waits for acknowledgements of what is under way. */
const DRAIN_WAIT_MS = 3_000;

/** Runs a chain node until it is told to stop. */
export async function main(args: readonly string[]): Promise<void> {
  const flags = orExit(() => parseChainFlags(args, Deno.env));
  const opened = openLog({ node: flags.id ?? "chain", level: flags.logLevel });
  try {
    await ChainNode.run(flags, opened);
  } catch (error) {
    await fail(opened, error);
  }
}

/** Says why the node cannot go on, and ends it. */
async function fail(opened: OpenLog, error: unknown): Promise<never> {
  if (error instanceof StorageError || error instanceof StartError) {
    opened.log.error(error.message);
  } else opened.log.error("The node failed", { error });
  await opened.flush();
  Deno.exit(1);
}

/** What is kept on disk, by the node's place in the chain. */
interface Storage {
  readonly output: Output | undefined;
  readonly queue: QueueSpool | undefined;
  readonly progress: ProgressSpool | undefined;
  readonly start: ChainInput & { readonly kind: "start" };
}

class ChainNode {
  readonly #flags: ChainFlags;
  readonly #opened: OpenLog;
  readonly #core: ChainCore;
  readonly #storage: Storage;
  readonly #greeting: Greeting;
  readonly #listener: Listener;
  readonly #narrator: Narrator | undefined;
  readonly #links = new Map<
    LinkId,
    { link: Link; from: SourceKind | "down" }
  >();
  readonly #dials = new AbortController();
  readonly #inputs: ChainInput[] = [];
  #isStepping = false;
  #nextLink = 1;
  #admin: Admin | undefined;
  #isStopping = false;
  #drained: (() => void) | undefined;

  private constructor(
    flags: ChainFlags,
    opened: OpenLog,
    storage: Storage,
  ) {
    this.#flags = flags;
    this.#opened = opened;
    this.#storage = storage;
    // The tail's messages on standard output are all that it has to say.
    const isNarrated = flags.print !== "none" &&
      (flags.next.length > 0 || flags.output !== undefined);
    this.#narrator = isNarrated ? new Narrator(flags.print) : undefined;
    const incarnation = drawIncarnation();
    this.#listener = this.#listen(incarnation);
    const id = flags.id ??
      defaultNodeId(Deno.hostname(), this.#listener.address.port);
    this.#greeting = this.#greetingOf(id, incarnation, ["chain"]);
    this.#core = new ChainCore({
      self: { id, incarnation },
      targets: flags.next.map(formatAddress),
      nextTimeoutMs: flags.nextTimeoutMs,
      queueBytesMax: flags.queueBytesMax,
      ackLines: flags.ackLines,
      spool: flags.spool !== undefined,
      narrate: isNarrated,
    });
  }

  /** Starts a node; it lives until the process ends. */
  static async run(flags: ChainFlags, opened: OpenLog): Promise<void> {
    const storage = await openStorage(flags, opened);
    const node = new ChainNode(flags, opened, storage);
    await node.#start();
  }

  async #start(): Promise<void> {
    const { log } = this.#opened;
    const { admin, key, warnings, next, exitWithParent } = this.#flags;
    stopOnSignals({
      log: this.#opened,
      exitWithParent,
      stop: (reason) => this.#stop(reason),
    });
    for (const warning of warnings) log.warn(warning);
    log.info(`Listening on ${formatAddress(this.#listener.address)}`, {
      version: VERSION,
      next: next.map(formatAddress).join(",") || "none, this is the tail",
    });
    if (key === undefined) {
      log.warn(
        "No cluster key: open to every loopback, link-local and private address",
      );
    }
    this.#input(this.#storage.start);
    if (admin !== undefined) await this.#openAdmin(admin);
  }

  async #openAdmin(listen: Address): Promise<void> {
    const { id } = this.#greeting.self;
    const metrics = await openMetrics({
      node: id,
      role: "chain",
      version: VERSION,
    });
    registerChainMetrics(metrics, {
      core: this.#core,
      refusedConnections: () => this.#listener.refused,
    });
    this.#admin = startAdmin({
      listen,
      nodeId: id,
      role: "chain",
      readiness: () => this.#readiness(),
      state: () => ({
        route: this.#core.route,
        queuedBytes: this.#core.queuedBytes,
        connections: this.#core.sourceCount,
        counters: this.#core.counters,
      }),
      registry: metrics.registry,
      log: this.#opened.log,
    });
    this.#opened.log.info(
      `Admin pages on http://${formatAddress(this.#admin.address)}/`,
    );
  }

  #readiness() {
    const { complete, problem } = this.#core.route;
    const reasons: string[] = [];
    if (this.#isStopping) reasons.push("This node is stopping");
    if (!complete) {
      reasons.push(problem?.text ?? "The chain does not reach a tail");
    }
    return { ready: reasons.length === 0, reasons };
  }

  #greetingOf(id: string, incarnation: string, accepts: Greeting["accepts"]) {
    const { cluster, key } = this.#flags;
    return {
      self: { cluster, role: "chain" as const, id, incarnation },
      accepts,
      ...(key !== undefined && { key }),
    };
  }

  #listen(incarnation: string): Listener {
    const flags = this.#flags;
    const { port } = flags.listen;
    const id = flags.id ?? defaultNodeId(Deno.hostname(), port);
    try {
      return new Listener({
        listen: flags.listen,
        greeting: this.#greetingOf(id, incarnation, ["chain", "client"]),
        silentMsMax: flags.linkTimeoutMs,
        lines: flags.lines,
        connectionsMax: SOURCES_MAX,
        log: this.#opened.log,
        onLink: ({ link, peer, rest }) => {
          const from = peer.role === "client" ? "client" : "node";
          const client = from === "client"
            ? clientIdOf(peer.incarnation)
            : undefined;
          const label = `${peer.id} (${link.label})`;
          this.#accepted(link, { from, label, client, bytes: rest });
        },
        onLines: (link, bytes) => {
          const client = clientIdOf(drawIncarnation());
          const label = link.label;
          this.#accepted(link, { from: "lines", label, client, bytes });
        },
      });
    } catch (cause) {
      throw new StartError(
        `Cannot listen on ${formatAddress(flags.listen)}: ${
          cause instanceof Error ? cause.message : cause
        }`,
        { cause },
      );
    }
  }

  // Inputs

  /** Steps the core; inputs that come up meanwhile wait their turn. */
  #input(input: ChainInput): void {
    this.#inputs.push(input);
    if (this.#isStepping) return;
    this.#isStepping = true;
    try {
      for (let next = this.#inputs.shift(); next; next = this.#inputs.shift()) {
        const effects = this.#core.step(next, performance.now());
        for (const effect of effects) this.#act(effect);
      }
    } catch (error) {
      // Our own mistake, or a disk that fails: go no further.
      void fail(this.#opened, error);
    } finally {
      this.#isStepping = false;
    }
  }

  #accepted(
    link: Link,
    source: Omit<ChainInput & { kind: "accepted" }, "kind" | "link">,
  ): void {
    const id = this.#nextLink++;
    this.#links.set(id, { link, from: source.from });
    this.#input({ kind: "accepted", link: id, ...source });
  }

  #act(effect: ChainEffect): void {
    switch (effect.kind) {
      case "read":
        return void this.#read(effect.link, effect.into);
      case "write":
        return void this.#write(effect.link, effect.bytes);
      case "close":
        return this.#close(effect.link, effect.error);
      case "dial":
        return void this.#dial(effect.target, effect.attempt);
      case "deliver":
        return this.#deliver(effect);
      case "spool":
        return void this.#spool(effect);
      case "spool-trim":
        return this.#storage.queue?.acknowledge(effect.position);
      case "timer":
        setTimeout(() => this.#input({ kind: "tick" }), effect.afterMs);
        return;
      case "ack-timer":
        setTimeout(() => this.#input({ kind: "ack-tick" }), effect.afterMs);
        return;
      case "received":
        return this.#narrator?.received(
          effect.label,
          effect.messages,
          effect.text,
        );
      case "forwarded":
        return this.#narrator?.forwarded(effect.to, effect.messages);
      case "log":
        return this.#opened.log[effect.level](effect.message, effect.fields);
      case "drained":
        return this.#drained?.();
    }
  }

  async #read(id: LinkId, into: Uint8Array): Promise<void> {
    const open = this.#links.get(id);
    if (open === undefined) return;
    try {
      const length = await open.link.read(into);
      if (!this.#links.has(id)) return;
      this.#input(
        length === null
          ? { kind: "ended", link: id }
          : { kind: "read", link: id, length },
      );
    } catch (error) {
      this.#lost(id, error);
    }
  }

  async #write(id: LinkId, bytes: Uint8Array): Promise<void> {
    const open = this.#links.get(id);
    if (open === undefined) return;
    try {
      await open.link.send(bytes);
      if (this.#links.has(id)) this.#input({ kind: "written", link: id });
    } catch (error) {
      this.#lost(id, error);
    }
  }

  #lost(id: LinkId, error: unknown): void {
    const open = this.#links.get(id);
    if (open === undefined) return;
    if (!(error instanceof WireError)) return void fail(this.#opened, error);
    open.link.abort();
    this.#forget(id);
    this.#input({ kind: "link-down", link: id, reason: error.message });
  }

  #close(id: LinkId, error?: WireError): void {
    const open = this.#links.get(id);
    if (open === undefined) return;
    const lastWords = error === undefined
      ? undefined
      : open.from === "lines"
      ? new TextEncoder().encode(`error 0 ${error.code} ${error.message}\n`)
      : encodeError(error);
    void open.link.close(lastWords);
    this.#forget(id);
  }

  #forget(id: LinkId): void {
    if (this.#links.get(id)?.from !== "down") this.#listener.release();
    this.#links.delete(id);
  }

  async #dial(target: number, attempt: number): Promise<void> {
    const waitMs = backoffMs(attempt, Math.random(), DIAL_WAIT_MS_MAX);
    await new Promise((resolve) => setTimeout(resolve, waitMs));
    if (this.#isStopping) return;
    const address = this.#flags.next[target];
    try {
      const { link, rest } = await dial(address, this.#greeting, {
        silentMsMax: this.#flags.linkTimeoutMs,
        signal: this.#dials.signal,
      });
      const id = this.#nextLink++;
      this.#links.set(id, { link, from: "down" });
      this.#input({ kind: "connected", link: id, target, bytes: rest });
    } catch (error) {
      if (!(error instanceof WireError)) return void fail(this.#opened, error);
      const text = `${this.#greeting.self.id} cannot reach ${
        formatAddress(address)
      }: ${error.message}`;
      this.#input({
        kind: "unreachable",
        target,
        error: { code: error.code, text },
      });
    }
  }

  // Disk and terminal

  #deliver(effect: ChainEffect & { kind: "deliver" }): void {
    const { output, progress } = this.#storage;
    const waiting = output?.put(effect.bytes);
    // Without a spool most deliveries are done here, with nothing to wait for.
    if (waiting === undefined && progress === undefined) {
      this.#input({ kind: "delivered" });
    } else void this.#finishDelivery(waiting, effect.clients);
  }

  async #finishDelivery(
    waiting: Promise<void> | undefined,
    clients: (ChainEffect & { kind: "deliver" })["clients"],
  ): Promise<void> {
    const { output, progress } = this.#storage;
    try {
      await waiting;
      if (output !== undefined && progress !== undefined) {
        await output.sync();
        const outputBytes = output.size;
        await progress.append({ outputBytes, clients });
        if (progress.isWorthRenewing) {
          const all = progress.clients;
          await progress.renew({ outputBytes, clients: all });
        }
      }
      this.#input({ kind: "delivered" });
    } catch (error) {
      await fail(this.#opened, error);
    }
  }

  async #spool(effect: ChainEffect & { kind: "spool" }): Promise<void> {
    const { queue } = this.#storage;
    try {
      await queue?.append(effect.position, effect.frames);
      if (queue?.isWorthRenewing) {
        const { position, frames } = this.#core.spooled;
        await queue.renew(position, frames);
      }
      this.#input({ kind: "spooled" });
    } catch (error) {
      await fail(this.#opened, error);
    }
  }

  // End

  async #stop(reason: string): Promise<void> {
    const { log } = this.#opened;
    log.info("Stopping", {
      reason,
      unacknowledgedBytes: this.#core.queuedBytes,
    });
    this.#isStopping = true;
    this.#listener.close();
    const drained = new Promise<void>((resolve) => this.#drained = resolve);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, DRAIN_WAIT_MS);
    });
    this.#input({ kind: "drain" });
    await Promise.race([drained, late]);
    clearTimeout(timer);
    this.#dials.abort();
    const bye = encodeError(
      new WireError("shutting-down", `${this.#greeting.self.id} is stopping`),
    );
    await Promise.all(
      Array.from(
        this.#links.values(),
        ({ link, from }) => link.close(from === "lines" ? undefined : bye),
      ),
    );
    await this.#narrator?.close();
    await this.#admin?.close();
    await this.#storage.queue?.close();
    await this.#storage.progress?.close();
    this.#storage.output?.close();
    log.info("Stopped", { unacknowledgedBytes: this.#core.queuedBytes });
  }
}

async function openStorage(
  flags: ChainFlags,
  opened: OpenLog,
): Promise<Storage> {
  const { log } = opened;
  const isTail = flags.next.length === 0;
  const disk = new LocalDisk();
  if (flags.spool !== undefined) DirectoryLock.acquire(flags.spool);
  if (!isTail) {
    const queue = flags.spool === undefined
      ? undefined
      : await QueueSpool.open(disk, flags.spool);
    if (queue !== undefined && queue.cutBytes > 0) {
      log.warn("Cut a torn end off the spool", { bytes: queue.cutBytes });
    }
    const frames = queue === undefined || queue.frames.length === 0
      ? []
      : [queue.frames];
    if (frames.length > 0) {
      log.info("Found unacknowledged messages in the spool", {
        bytes: frames[0].length,
      });
    }
    return {
      output: undefined,
      queue: queue?.spool,
      progress: undefined,
      start: { kind: "start", frames, clients: [] },
    };
  }
  const kept = flags.spool === undefined
    ? undefined
    : await ProgressSpool.open(disk, flags.spool);
  const output = flags.output === undefined
    ? new StandardOutputOf()
    : openOutput(flags.output, kept?.progress?.outputBytes, opened);
  const clients = kept?.progress?.clients ?? [];
  if (kept !== undefined && kept.progress === undefined) {
    // Whatever a crash leaves beyond this was never acknowledged.
    await kept.spool.append({ outputBytes: output.size, clients });
  }
  return {
    output,
    queue: undefined,
    progress: kept?.spool,
    start: { kind: "start", frames: [], clients },
  };
}

function openOutput(
  path: string,
  outputBytes: number | undefined,
  opened: OpenLog,
): Output {
  const { output, cutBytes } = FileOutput.open(path, outputBytes);
  if (cutBytes > 0) {
    opened.log.warn(
      "Cut unacknowledged bytes off the output; they come again",
      {
        bytes: cutBytes,
        path,
      },
    );
  }
  return output;
}

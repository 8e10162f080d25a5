/** Load under which the server that orders the writes is killed. */

import type { KillPlan, KillResult } from "./load_plan.ts";
import type { OpenLink, Place, WriteLink } from "./write_link.ts";

/** A survivor is asked so often from the kill on, whatever became of the last. */
const PROBE_EVERY_MS = 5;
/** Of writes without an answer: then it is asked no more. */
const PROBES_MAX = 4_096;
const RECONNECT_AFTER_MS = 20;

/** How links are opened. */
export interface KillLinks {
  /** One of those that make the load; any server. */
  readonly load: OpenLink;
  /** One to a survivor. */
  readonly probe: OpenLink;
  /** One for each survivor; none of those that make the load. */
  readonly probeClients: readonly number[];
  /** Writes that a link may have under way. */
  readonly lanesMax: number;
}

/** One kill. */
export class KillLoop {
  readonly #plan: KillPlan;
  readonly #links: KillLinks;
  readonly #open = new Set<WriteLink>();
  #writes = 0;
  #isOver = false;
  readonly #over = Promise.withResolvers<void>();

  constructor(plan: KillPlan, links: KillLinks) {
    this.#plan = plan;
    this.#links = links;
  }

  /** @throws {Error} When nobody writes again within the plan's time. */
  async run(): Promise<KillResult> {
    const clients: Promise<void>[] = [];
    try {
      const { probeClients } = this.#links;
      const probes = await Promise.all(
        probeClients.map((client) => this.#openProbe(client)),
      );
      for (let client = 0; client < this.#plan.connections; client++) {
        clients.push(this.#keepWriting(client));
      }
      return await this.#kill(probes);
    } finally {
      this.#isOver = true;
      this.#over.resolve();
      for (const link of this.#open) link.close();
      await Promise.all(clients);
    }
  }

  async #kill(probes: readonly Probe[]): Promise<KillResult> {
    const { warmUpMs, victimPid, waitMsMax } = this.#plan;
    await pause(warmUpMs);
    const writes = this.#writes;
    if (writes === 0) throw new Error("Nothing was written before the kill");
    const startMs = performance.now();
    Deno.kill(victimPid, "SIGKILL");
    const firstMs = await this.#probe(probes, startMs + waitMsMax);
    if (firstMs === undefined) {
      throw new Error(`Nobody wrote again within ${waitMsMax / 1_000} s`);
    }
    return { gapMs: firstMs - startMs, writes };
  }

  async #openProbe(client: number): Promise<Probe> {
    const free = Array.from(
      { length: Math.min(this.#links.lanesMax, PROBES_MAX) },
      (_, lane) => lane,
    );
    const acked = Promise.withResolvers<number>();
    const link = await this.#links.probe({ client, attempt: 0 }, {
      acked: () => acked.resolve(performance.now()),
      refused: (lane) => free.push(lane),
      lost: () => free.splice(0),
    });
    this.#open.add(link);
    return { link, free, acked: acked.promise };
  }

  /** When the first write that began after the kill was acknowledged. */
  async #probe(
    probes: readonly Probe[],
    deadlineMs: number,
  ): Promise<number | undefined> {
    const first = Promise.race(probes.map(({ acked }) => acked));
    let firstMs: number | undefined;
    void first.then((ms) => firstMs = ms);
    while (firstMs === undefined && performance.now() < deadlineMs) {
      for (const { link, free } of probes) {
        const lane = free.shift();
        if (lane === undefined) continue;
        link.write(lane);
        link.flush();
      }
      await pause(PROBE_EVERY_MS);
    }
    return firstMs;
  }

  /** One client: it writes as fast as it can, at another server if need be. */
  async #keepWriting(client: number): Promise<void> {
    for (let attempt = 0; !this.#isOver; attempt++) {
      try {
        const writing = this.#writeUntilLost({ client, attempt });
        await Promise.race([writing, this.#over.promise]);
      } catch {
        // The next server in turn.
        await pause(RECONNECT_AFTER_MS);
      }
    }
  }

  async #writeUntilLost(place: Place): Promise<void> {
    const lost = Promise.withResolvers<void>();
    const link = await this.#links.load(place, {
      acked: (lane) => {
        this.#writes += 1;
        link.write(lane);
      },
      refused: (lane) => void this.#writeLater(link, lane),
      lost: () => lost.resolve(),
    });
    // What was opened while all ended is closed by nobody else.
    if (this.#isOver) return link.close();
    this.#open.add(link);
    link.write(0);
    link.flush();
    await Promise.race([lost.promise, this.#over.promise]);
    this.#open.delete(link);
  }

  /** A server that refuses at once must not be asked in a tight circle. */
  async #writeLater(link: WriteLink, lane: number): Promise<void> {
    await pause(RECONNECT_AFTER_MS);
    if (!this.#open.has(link) || this.#isOver) return;
    link.write(lane);
    link.flush();
  }
}

interface Probe {
  readonly link: WriteLink;
  readonly free: number[];
  readonly acked: Promise<number>;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

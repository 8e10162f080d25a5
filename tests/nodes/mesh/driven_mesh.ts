/** Cores of mesh servers with a test in place of their hosts: messages pass when it says so. */

import {
  type ClientAsk,
  DEFAULT_MESH_TIMING,
  DEFAULT_RECENT,
  type MeshEffect,
  type MeshInput,
  type MeshOptions,
} from "../../../nodes/mesh/contract.ts";
import { MeshCore } from "../../../nodes/mesh/core.ts";
import type { ToClient } from "../../../protocol/mesh.ts";
import type { PeerMessage } from "../../../protocol/mesh_peer.ts";

export const START_MS = 1_700_000_000_000;

export type EffectOf<Kind extends MeshEffect["kind"]> = Extract<
  MeshEffect,
  { kind: Kind }
>;

type WithoutTime<Input> = Input extends unknown ? Omit<Input, "timeMs"> : never;

/** One core, whose links are numbered by the test. */
export class DrivenCore {
  readonly core: MeshCore;
  /** All effects so far. */
  readonly effects: MeshEffect[] = [];
  nowMs = 0;

  constructor(options: Partial<MeshOptions> & Pick<MeshOptions, "id">) {
    this.core = new MeshCore({
      ...{ cluster: "skein", generation: START_MS, topology: "mesh" },
      ...{ timing: DEFAULT_MESH_TIMING, recent: DEFAULT_RECENT },
      clientsMax: 100,
      ...options,
    });
    this.step({ kind: "start" });
  }

  step(input: WithoutTime<MeshInput>): MeshEffect[] {
    const timeMs = START_MS + this.nowMs;
    const effects = this.core.step(
      { ...input, timeMs } as MeshInput,
      this.nowMs,
    );
    this.effects.push(...effects);
    return effects;
  }

  ask(client: number, ask: ClientAsk): ToClient[] {
    return told(this.step({ ...ask, client, id: 1 }), client);
  }

  /** A peer that the test plays, up to its first beat. */
  linkTo(peer: string, link: number, generation = START_MS): void {
    this.step({
      ...{ kind: "link-up", link, peer, incarnation: peer, isDialed: true },
    });
    this.hear(link, { kind: "hello", generation, known: 0 });
    this.hear(link, beat(peer, generation, [this.core.status.server]));
  }

  hear(link: number, message: PeerMessage): MeshEffect[] {
    return this.step({ kind: "peer", link, message });
  }

  wait(ms: number): MeshEffect[] {
    this.nowMs += ms;
    return this.step({ kind: "tick" });
  }
}

/** What a peer that the test plays says of itself. */
export function beat(
  id: string,
  generation: number,
  neighbours: readonly string[],
): PeerMessage {
  return {
    kind: "beat",
    servers: [{
      ...{ id, generation, version: 1, neighbours, clients: 0 },
      draining: false,
    }],
    seen: [{ id, generation, n: 0 }],
    topology: { topology: "mesh", version: 0, by: id },
  };
}

/** What this client is told by these effects. */
export function told(
  effects: readonly MeshEffect[],
  client: number,
): ToClient[] {
  return effects.flatMap((effect) =>
    effect.kind === "tell" &&
      (effect.clients === "all" || effect.clients.includes(client))
      ? [effect.message]
      : []
  );
}

/** What is sent by these effects. */
export function sent(effects: readonly MeshEffect[]): PeerMessage[] {
  return effects.flatMap((effect) =>
    effect.kind === "send" ? [effect.message] : []
  );
}

/** Cores that are all linked; what they send arrives in order when `run` is called. */
export class DrivenMesh {
  readonly servers: readonly DrivenCore[];
  #queue: { to: DrivenCore; link: number; message: PeerMessage }[] = [];
  #taken = new Map<DrivenCore, number>();
  /** Events that passed, by the link's number at the receiver. */
  events = 0;

  constructor(options: readonly Parameters<typeof DrivenMesh.core>[0][]) {
    this.servers = options.map((one) => DrivenMesh.core(one));
    this.servers.forEach((a, at) =>
      this.servers.forEach((b, other) => {
        if (at === other) return;
        a.step({
          ...{ kind: "link-up", link: other, peer: b.core.status.server },
          ...{ incarnation: `${other}`, isDialed: at < other },
        });
      })
    );
    this.run();
    this.wait(30);
  }

  static core(options: Partial<MeshOptions> & Pick<MeshOptions, "id">) {
    return new DrivenCore(options);
  }

  /** Lets everything arrive. */
  run(): void {
    this.#collect();
    for (let next = this.#queue.shift(); next; next = this.#queue.shift()) {
      if (next.message.kind === "events") {
        this.events += next.message.events.length;
      }
      next.to.hear(next.link, next.message);
      this.#collect();
    }
  }

  wait(ms: number): void {
    for (const server of this.servers) server.wait(ms);
    this.run();
  }

  #collect(): void {
    this.servers.forEach((server, from) => {
      const { effects } = server;
      for (let at = this.#taken.get(server) ?? 0; at < effects.length; at++) {
        const effect = effects[at];
        if (effect.kind !== "send") continue;
        const to = this.servers[effect.link];
        this.#queue.push({ to, link: from, message: effect.message });
      }
      this.#taken.set(server, effects.length);
    });
  }
}

/** The nodes of one chat group under test: what they say together. */

import type { NodeStatus } from "../../../protocol/status.ts";
import { until } from "../until.ts";
import type { ChatNode } from "./chat_node.ts";

/** What counts where no flag says something else. */
export const UNHURRIED = {
  // Many tests share few cores: whoever is merely slow is not taken for dead.
  SKEIN_HEARTBEAT: "50ms",
  SKEIN_SUSPECT_AFTER: "600ms",
  SKEIN_ELECTION: "300ms",
  SKEIN_SYNC_STALL: "1m",
  // Nobody guesses these passwords, and logins are not what is tested.
  SKEIN_PASSWORD_COST: "10",
};

/** Nodes that are, or are to become, one group. */
export abstract class ChatNodes {
  /** All of them. */
  abstract get nodes(): readonly ChatNode[];

  /** Those that keep messages. */
  get servers(): readonly ChatNode[] {
    return this.nodes.filter(({ isServer }) => isServer);
  }

  /** Where people reach all servers. */
  get clients(): readonly string[] {
    return this.servers.map(({ clients }) => clients);
  }

  /** One of them, by its name. */
  node(name: string): ChatNode {
    const found = this.nodes.find((node) => node.name === name);
    if (found === undefined) throw new Error(`There is no node ${name}`);
    return found;
  }

  /** The server that leads and takes writes; waits until there is one. */
  async primary(
    wanted: (node: ChatNode) => boolean = () => true,
  ): Promise<ChatNode> {
    return await this.until("there is a primary", async () => {
      for (const node of this.servers) {
        if (!wanted(node)) continue;
        const status = await node.status();
        if (status?.role === "primary" && status.isWritable) return node;
      }
    });
  }

  /**
   * Waits until all servers are members of one view, though not idle, in which
   * all nodes vote, and all of them are linked: any minority may die then.
   *
   * @param ageMs Since when, at least. A new store joins by several views, one
   *   soon after the other: an older one is the last of them.
   * @returns What the first node says of it.
   */
  async complete(ageMs = 0): Promise<NodeStatus> {
    let seen: (NodeStatus | undefined)[] = [];
    return await this.until("all nodes have their part", async () => {
      seen = await Promise.all(this.nodes.map((node) => node.status()));
      const all = seen.filter((one) => one !== undefined);
      const members = namesOf(all.filter(({ kind }) => kind === "server"));
      const names = new Set(all.map(({ node }) => node));
      const voters = namesOf(all);
      const epochs = new Set(all.map(({ view }) => view?.epoch.counter));
      const isSo = epochs.size === 1 && all.length === seen.length &&
        all.every(({ view, peers }) =>
          view?.members.join() === members &&
          view.voters.join() === voters &&
          view.previousVoters === undefined &&
          view.ageMs >= ageMs &&
          // Others may be known, and gone.
          peers.every(({ id, isLinked }) => isLinked || !names.has(id))
        );
      return isSo ? all[0] : undefined;
    }, () => statusText(seen));
  }

  /**
   * Waits until exactly these servers are the members of one view, and have
   * applied the same entries, all that there are. That their states have the
   * same hash then is checked at every look, as always.
   *
   * @param servers Default: all of them.
   */
  async inSync(
    servers: readonly ChatNode[] = this.servers,
  ): Promise<NodeStatus> {
    let seen: (NodeStatus | undefined)[] = [];
    const who = servers.map(({ name }) => name).join();
    return await this.until(`${who} are in sync`, async () => {
      seen = await Promise.all(servers.map((node) => node.status()));
      const all = seen.filter((one) => one !== undefined);
      const [first] = all;
      if (all.length < seen.length || first === undefined) return undefined;
      const names = namesOf(all);
      const isSame = all.every((status) =>
        status.isWritable &&
        status.view?.members.join() === names &&
        status.appliedIndex === first.appliedIndex &&
        status.committedIndex === first.appliedIndex &&
        status.lastIndex === first.appliedIndex
      );
      return isSame ? first : undefined;
    }, () => statusText(seen));
  }

  /** Waits; fails early when a node ends that nobody ended. */
  async until<T>(
    what: string,
    look: () => T | Promise<T>,
    context: () => string = () => "",
  ) {
    return await until(what, look, {
      context: () => context() + this.describe(),
      hopeless: () => this.mishap,
    });
  }

  /** Why the group cannot be relied on: a node ended that nobody ended. */
  get mishap(): string | undefined {
    return this.everyone.find(({ mishap }) => mishap !== undefined)?.mishap;
  }

  /** All nodes with their last lines, for failure texts. */
  describe(): string {
    return this.everyone.map((one) => one.describe()).join("");
  }

  /** The nodes, and whatever else the test has started. */
  protected get everyone(): readonly ChatNode[] {
    return this.nodes;
  }
}

/** Sees that servers that have applied the same entries have the same state. */
export class StateHashes {
  /** The hash at each index of a group at which some server was asked. */
  readonly #hashes = new Map<string, string>();

  /**
   * @throws {Error} Another server, or an earlier life of this one, had another
   *   state at this index.
   */
  compare({ node, kind, group, appliedIndex, hash }: NodeStatus): void {
    if (kind === "witness") return;
    const place = `${group} ${appliedIndex}`;
    const known = this.#hashes.get(place);
    this.#hashes.set(place, hash);
    if (known === undefined || known === hash) return;
    throw new Error(
      `The state of ${node} at index ${appliedIndex} is ${hash}, another one's was ${known}`,
    );
  }
}

function namesOf(all: readonly NodeStatus[]): string {
  return all.map(({ node }) => node).sort().join();
}

function statusText(all: readonly (NodeStatus | undefined)[]): string {
  return all.map((status) =>
    status === undefined
      ? "no status\n"
      : `${status.node} ${status.role} of ${status.view?.members.join()} at ${status.view?.epoch.counter}: last ${status.lastIndex}, committed ${status.committedIndex}, applied ${status.appliedIndex} ${status.hash}; waits for ${
        status.waitsFor.join("; ")
      }\n`
  ).join("");
}

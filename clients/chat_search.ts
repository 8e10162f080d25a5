/** Looks for a chat group or a mesh: the first time for any, later for the servers of that one. */

import type { Address } from "../protocol/address.ts";
import type { StoreId } from "../protocol/epoch.ts";
import type { Log } from "../nodes/host/log.ts";
import {
  clientAddresses,
  describeGroup,
  describeMesh,
  type FoundNodes,
  meshAddresses,
  nobody,
} from "./found_groups.ts";
import type { ChatService } from "./asked_servers.ts";
import { NodeSearch } from "./node_search.ts";
import type { SearchSettings } from "./where_flags.ts";

/** After so long it says that it looks. */
const SAY_AFTER_MS = 1_000;

/** After so long it says what may be wrong. */
const ADVISE_AFTER_MS = 10_000;

/** What a client has found. */
export interface ChatGroup {
  readonly id: StoreId;
  /** Client ports, the leader's first. */
  readonly addresses: readonly Address[];
  /** Whether there is another that it could be. */
  readonly isOneOfSeveral: boolean;
  /** What somebody should know: which group, and of which others. */
  readonly text: string;
}

/** Mesh servers that a client has found. */
export interface ChatMesh {
  /** Client ports. */
  readonly mesh: readonly Address[];
  readonly isOneOfSeveral: boolean;
  readonly text: string;
}

/** Who looks, and who is told. */
export interface ChatSearchOptions {
  readonly search: SearchSettings;
  /** What to look for; undefined: a chat group, or else a mesh. */
  readonly service: ChatService | undefined;
  readonly log: Log;
  /** To a person, while nothing is found. */
  onWait(text: string): void;
}

/** One client's searches. */
export class ChatSearch {
  readonly #options: ChatSearchOptions;
  #nodes: NodeSearch | undefined;
  #isClosed = false;

  constructor(options: ChatSearchOptions) {
    this.#options = options;
  }

  /** Looks until there is somebody to talk to; undefined: it was closed before. */
  async first(): Promise<ChatGroup | ChatMesh | undefined> {
    const { search, onWait } = this.#options;
    using nodes = this.#open(this.#options.service);
    const timers = [
      setTimeout(() => onWait("Looking for a chat group …"), SAY_AFTER_MS),
      setTimeout(() => onWait(advice(nodes.found, search)), ADVISE_AFTER_MS),
    ];
    try {
      while (!this.#isClosed) {
        const found = await nodes.firstGroup(ADVISE_AFTER_MS);
        const group = chosenGroup(found) ?? chosenMesh(found);
        if (group !== undefined) return group;
      }
      return undefined;
    } finally {
      for (const timer of timers) clearTimeout(timer);
      this.#nodes = undefined;
    }
  }

  /** Looks for the servers of this group until {@linkcode rest}. */
  again(id: StoreId, onFound: (addresses: readonly Address[]) => void): void {
    if (this.#nodes !== undefined || this.#isClosed) return;
    const nodes = this.#open("chat", () => {
      const group = nodes.found.groups.find((one) => one.id === id);
      if (group !== undefined) onFound(clientAddresses(group));
    });
  }

  /** Looks for mesh servers until {@linkcode rest}. */
  againMesh(onFound: (addresses: readonly Address[]) => void): void {
    if (this.#nodes !== undefined || this.#isClosed) return;
    const nodes = this.#open("mesh", () => {
      const [mesh] = nodes.found.meshes;
      if (mesh !== undefined) onFound(meshAddresses(mesh));
    });
  }

  /** A server is reached. */
  rest(): void {
    this.#nodes?.close();
    this.#nodes = undefined;
  }

  close(): void {
    this.#isClosed = true;
    this.rest();
  }

  #open(
    service: ChatService | undefined,
    onSighting: () => void = () => {},
  ): NodeSearch {
    const { search, log } = this.#options;
    const nodes = new NodeSearch({
      ...search,
      service,
      log,
      onSighting,
    });
    this.#nodes = nodes;
    return nodes;
  }
}

/** The best group that lets clients in. */
export function chosenGroup({ groups }: FoundNodes): ChatGroup | undefined {
  const usable = groups.filter((group) => clientAddresses(group).length > 0);
  const [group, ...others] = usable;
  if (group === undefined) return undefined;
  const openness = group.nodes.some(({ advert }) => advert.isOpen)
    ? "; it has no key: whoever is on this network may join it"
    : "";
  const which = others.length === 0
    ? `Found ${describeGroup(group)}`
    : `${usable.length} groups answer: taking ${describeGroup(group)} before ${
      others.map(describeGroup).join(" and ")
    }`;
  const text = `${which}${openness}`;
  return {
    id: group.id,
    addresses: clientAddresses(group),
    isOneOfSeveral: others.length > 0,
    text,
  };
}

/** The largest mesh that lets clients in. */
export function chosenMesh({ meshes }: FoundNodes): ChatMesh | undefined {
  const usable = meshes.filter((mesh) => meshAddresses(mesh).length > 0);
  const [mesh, ...others] = usable;
  if (mesh === undefined) return undefined;
  const text = others.length === 0
    ? `Found ${describeMesh(mesh)}`
    : `${usable.length} meshes answer: taking ${describeMesh(mesh)} before ${
      others.map(describeMesh).join(" and ")
    }`;
  const addresses = meshAddresses(mesh);
  return { mesh: addresses, isOneOfSeveral: others.length > 0, text };
}

function advice(
  { groups, seekers }: FoundNodes,
  search: SearchSettings,
): string {
  if (groups.length > 0) {
    return "A group answers, but no server that takes people";
  }
  if (seekers.length > 0) {
    const names = seekers.map(({ advert }) => advert.id).join(", ");
    return `${names}: no group yet; still looking`;
  }
  return `${nobody(search)}; still looking`;
}

/** What a node of a chat group says of itself to whoever looks for one. */

import {
  type Address,
  formatAddress,
  isWildcardHost,
  parseAddress,
} from "../../../protocol/address.ts";
import {
  type Advert,
  type AdvertGroup,
  DISSOLVED_MAX,
  type Endpoint,
} from "../../../protocol/discovery.ts";
import { isSameEpoch, type StoreId } from "../../../protocol/epoch.ts";
import { isMajority, type View } from "../../../protocol/view.ts";
import type { OwnGroup } from "../../../election/discovery_contract.ts";
import type { Peer } from "../../../election/membership.ts";
import type { GroupState } from "../replica/contract.ts";
import type { PeerLinks } from "../links/peers.ts";

/** What an advert is made of. */
export interface OwnAdvertParts {
  readonly self: Omit<Peer, "group">;
  readonly cluster: string;
  readonly isKeyed: boolean;
  /** Groups that ended here; latest last. */
  readonly dissolved: readonly StoreId[];
  /** Where people are let in; undefined for a witness. */
  readonly clients: Address | undefined;
  readonly peers: Pick<PeerLinks, "address" | "clientAddressOf">;
  /** The view accepted last, active or not. */
  readonly acceptedView: View | undefined;
  readonly state: GroupState;
  /** Whether nothing is kept here that anybody could miss. */
  readonly isVoid: boolean;
  /** The same of what is applied. */
  readonly isAppliedVoid: boolean;
}

/** The group that a node is in, for discovery; undefined as long as it is in none. */
export function ownGroup(
  parts: Pick<
    OwnAdvertParts,
    "self" | "acceptedView" | "state" | "isVoid" | "isAppliedVoid"
  >,
): OwnGroup | undefined {
  const { acceptedView: view, state, isVoid, isAppliedVoid } = parts;
  const { store: self } = parts.self;
  if (view === undefined) return undefined;
  const { group, epoch, voters, nodes, primary } = view;
  return {
    id: group,
    isVoid,
    isAppliedVoid,
    isActive: state.isWritable && state.view !== undefined &&
      isSameEpoch(state.view.epoch, epoch),
    isLeader: state.role === "primary",
    epoch,
    leader: nodes[primary],
    hasWitness: voters.some((store) => nodes[store].kind === "witness"),
    isIndispensable: view.previousVoters === undefined &&
      view.members.includes(self) &&
      !isMajority(view, (store) => store !== self),
  };
}

/** What the node says. */
export function ownAdvert(parts: OwnAdvertParts): Advert {
  const { self, cluster, isKeyed, dissolved, clients, peers } = parts;
  const group = advertGroup(parts);
  const { id, kind, priority, store, incarnation } = self;
  return {
    service: "chat",
    ...{ cluster, id, kind, priority, store, incarnation },
    peers: endpointOf(peers.address),
    ...clients !== undefined && { clients: endpointOf(clients) },
    ...group !== undefined && { group },
    dissolved: dissolved.slice(-DISSOLVED_MAX),
    isOpen: !isKeyed,
  };
}

function advertGroup(parts: OwnAdvertParts): AdvertGroup | undefined {
  const { acceptedView: view } = parts;
  const own = ownGroup(parts);
  if (view === undefined || own === undefined) return undefined;
  const { id, priority } = own.leader;
  const clients = clientsOf(view.primary, parts);
  return {
    id: own.id,
    // A witness was put there by somebody: such a group is meant.
    isVoid: own.isVoid && !own.hasWitness,
    isWorking: own.isActive,
    epoch: own.epoch,
    leader: { id, priority, ...clients !== undefined && { clients } },
    members: view.members.length,
    voters: view.voters.length,
  };
}

/** Where people reach a node, if that is an address that others can use. */
function clientsOf(
  store: StoreId,
  { self, clients, peers }: OwnAdvertParts,
): Address | undefined {
  const text = store === self.store
    ? clients && formatAddress(clients)
    : peers.clientAddressOf(store);
  if (text === undefined) return undefined;
  const address = parseAddress(text);
  return isWildcardHost(address.host) ? undefined : address;
}

/** Without a host: wherever the node is asked. */
function endpointOf({ host, port }: Address): Endpoint {
  return isWildcardHost(host) ? { port } : { host, port };
}

/** Answers a question that comes by TCP; see `WIRE.md#discovery`. */

import {
  isLoopbackAddress,
  isPrivateAddress,
  parseAddress,
} from "../../../protocol/address.ts";
import type { Advert } from "../../../protocol/discovery.ts";
import {
  encodeDiscoverAnswer,
  readDiscoverAsk,
} from "../../../protocol/discovery_words.ts";
import { WireError } from "../../../protocol/errors.ts";
import { FRAME } from "../../../protocol/frame.ts";
import { encodeError, PeerError } from "../../../protocol/handshake.ts";
import type { OpenLink } from "../link.ts";
import type { Sighting } from "./finder.ts";
import { addressesOf } from "./node_addresses.ts";
import { readFrame } from "./one_frame.ts";

/** How long whoever has come in may take to ask. */
const ASK_WAIT_MS = 3_000;

/** A node that asks, and where it is reached. Nothing but itself vouches for it. */
export type Asker = Pick<Sighting, "advert" | "peers">;

/**
 * What this node says of itself.
 *
 * @param asker Who wants to know, if it is a node of this service and cluster.
 */
export type SayAdvert = (asker?: Asker) => Advert;

/**
 * The frame to answer with; then close the link.
 *
 * @param payload Of a `discoverAsk` frame.
 * @param by `from`: the address that the link came from.
 * @throws {WireError} The question cannot be read, or is for another service:
 * tell the peer, and close.
 */
export function answerDiscoverAsk(
  payload: Uint8Array,
  by: { readonly advert: SayAdvert; readonly from: string },
): Uint8Array<ArrayBuffer> {
  const ask = readDiscoverAsk(payload);
  const { nonce, service, cluster } = ask;
  const own = by.advert();
  if (service !== undefined && service !== own.service) {
    throw new WireError(
      "role-mismatch",
      `This node is of the service "${own.service}", not "${service}"`,
    );
  }
  if (cluster !== undefined && cluster !== own.cluster) {
    throw new WireError(
      "cluster-mismatch",
      `This node belongs to cluster "${own.cluster}", not to "${cluster}"`,
    );
  }
  const asker = ask.advert && askerOf(ask.advert, { own, from: by.from });
  const advert = asker === undefined ? own : by.advert(asker);
  return encodeDiscoverAnswer({ nonce, time: Date.now(), advert });
}

/** As an answer is taken by who has asked; undefined if it is not. */
function askerOf(
  advert: Advert,
  { own, from }: { readonly own: Advert; readonly from: string },
): Asker | undefined {
  const { service, cluster, peers } = advert;
  if (service !== own.service || cluster !== own.cluster) return undefined;
  const { host } = parseAddress(from);
  if (own.isOpen && !isPrivateAddress(host)) return undefined;
  // It listens at its machine's loopback address only: no use elsewhere.
  const isElsewhere = peers.host !== undefined &&
    isLoopbackAddress(peers.host) && !isLoopbackAddress(host);
  if (isElsewhere) return undefined;
  return { advert, ...addressesOf(advert, { host, isKeyed: !own.isOpen }) };
}

/**
 * Serves a link that may ask this and nothing else, and closes it. Never
 * throws.
 */
export async function serveDiscoverAsk(
  open: OpenLink,
  advert: SayAdvert,
): Promise<void> {
  const { link } = open;
  try {
    const { kind, payload } = await readFrame(open, ASK_WAIT_MS);
    if (kind !== FRAME.discoverAsk) {
      throw new WireError(
        "role-mismatch",
        `This port takes lines of text, and of frames only kind ${FRAME.discoverAsk}, not ${kind}`,
      );
    }
    await link.close(answerDiscoverAsk(payload, { advert, from: link.label }));
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    const isTheirs = error instanceof PeerError || error.code === "link-lost";
    if (isTheirs) link.abort();
    else await link.close(encodeError(error));
  }
}

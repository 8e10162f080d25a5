/** Answers a question that comes by TCP; see `WIRE.md#discovery`. */

import type { Advert } from "../../../protocol/discovery.ts";
import {
  encodeDiscoverAnswer,
  readDiscoverAsk,
} from "../../../protocol/discovery_words.ts";
import { WireError } from "../../../protocol/errors.ts";
import { FRAME } from "../../../protocol/frame.ts";
import { encodeError, PeerError } from "../../../protocol/handshake.ts";
import type { OpenLink } from "../link.ts";
import { readFrame } from "./one_frame.ts";

/** How long whoever has come in may take to ask. */
const ASK_WAIT_MS = 3_000;

/**
 * The frame to answer with; then close the link.
 *
 * @param payload Of a `discoverAsk` frame.
 * @throws {WireError} The question cannot be read, or is for another service:
 * tell the peer, and close.
 */
export function answerDiscoverAsk(
  payload: Uint8Array,
  advert: Advert,
): Uint8Array<ArrayBuffer> {
  const { nonce, service, cluster } = readDiscoverAsk(payload);
  if (service !== undefined && service !== advert.service) {
    throw new WireError(
      "role-mismatch",
      `This node is of the service "${advert.service}", not "${service}"`,
    );
  }
  if (cluster !== undefined && cluster !== advert.cluster) {
    throw new WireError(
      "cluster-mismatch",
      `This node belongs to cluster "${advert.cluster}", not to "${cluster}"`,
    );
  }
  return encodeDiscoverAnswer({ nonce, time: Date.now(), advert });
}

/**
 * Serves a link that may ask this and nothing else, and closes it. Never
 * throws.
 */
export async function serveDiscoverAsk(
  open: OpenLink,
  advert: () => Advert,
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
    await link.close(answerDiscoverAsk(payload, advert()));
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    const isTheirs = error instanceof PeerError || error.code === "link-lost";
    if (isTheirs) link.abort();
    else await link.close(encodeError(error));
  }
}

/** One frame of a link, for those who want no more. */

import { WireError } from "../../../protocol/errors.ts";
import { FRAME, type Frame, FrameReader } from "../../../protocol/frame.ts";
import { readError } from "../../../protocol/handshake.ts";
import type { OpenLink } from "../link.ts";

const READ_BYTES = 4_096;

/** Bytes of a frame that is taken: more than a question or an answer has. */
const FRAME_BYTES_MAX = 4_096;

/**
 * Reads the next frame, beats left out.
 *
 * @param waitMs How long that may take.
 * @throws {PeerError} The peer refused; close.
 * @throws {WireError} There is none; tell the peer why, and close.
 */
export async function readFrame(
  { link, rest }: OpenLink,
  waitMs: number,
): Promise<Frame> {
  const reader = new FrameReader(FRAME_BYTES_MAX);
  reader.push(rest);
  const buffer = new Uint8Array(READ_BYTES);
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    const text = `Peer said nothing for ${waitMs} ms`;
    late.reject(new WireError("timeout", text));
  }, waitMs);
  try {
    for (;;) {
      const frame = reader.next();
      if (frame?.kind === FRAME.error) throw readError(frame.payload);
      if (frame !== undefined && frame.kind !== FRAME.beat) return frame;
      if (frame !== undefined) continue;
      const reading = link.read(buffer);
      // If nobody waits for it any more, its failure is nobody's concern.
      reading.catch(() => {});
      const count = await Promise.race([reading, late.promise]);
      if (count === null) throw new WireError("link-lost", "Peer closed");
      reader.push(buffer.subarray(0, count));
    }
  } finally {
    clearTimeout(timer);
  }
}

/** JSON from the wire. */

import { WireError } from "./errors.ts";

/**
 * Parses JSON that a peer sent.
 *
 * @throws {WireError} `invalid-utf8` or `invalid-message`: close the link.
 */
export function parseJson(payload: Uint8Array): unknown {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(payload);
  } catch (cause) {
    throw new WireError("invalid-utf8", "Cannot read message: not UTF-8", {
      cause,
    });
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new WireError("invalid-message", "Cannot read message: not JSON", {
      cause,
    });
  }
}

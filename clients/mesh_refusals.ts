/** What hinders a mesh chat client, and what may help: another server, time, or nothing. */

import { type Address, formatAddress } from "../protocol/address.ts";
import { WIRE_CODES, type WireCode } from "../protocol/errors.ts";
import type { ChatProblem } from "./chat_contract.ts";

/** Refusals at the door that no further attempt can change. */
const FINAL_CODES: ReadonlySet<WireCode> = new Set<WireCode>([
  "not-private",
  "lines-refused",
  "not-skein",
  "role-mismatch",
]);

/** Refusals that another server, or this one later, may not have. */
const ELSEWHERE_CODES: ReadonlySet<WireCode> = new Set<WireCode>([
  "draining",
  "busy",
]);

export const EMPTIED: ChatProblem = {
  code: "draining",
  text: "Every server that answers is being emptied",
};

export const SILENT: ChatProblem = {
  code: "timeout",
  text: "The server does not answer",
};

/** Whether that server will never say anything else. */
export function isFinal(code: WireCode): boolean {
  return FINAL_CODES.has(code);
}

/** Whether a login that is refused so is tried at another server. */
export function isForAnother(code: WireCode): boolean {
  return ELSEWHERE_CODES.has(code) || isFinal(code) ||
    WIRE_CODES[code] === "indefinite";
}

/** Only the replicated chat answers `status` with `ok`. */
export function ofChatGroup(address: Address): ChatProblem {
  return {
    code: "role-mismatch",
    text: `The server at ${
      formatAddress(address)
    } is of a chat group; a mesh server is wanted`,
  };
}

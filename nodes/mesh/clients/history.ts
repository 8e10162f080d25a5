/** What a client asks of the log, and how much of the answer it gets at once. */

import { Buffer } from "node:buffer";
import type { HistoryLine } from "../../../protocol/mesh.ts";

/** Bytes of one history answer; what is older is asked for with `before`. */
const HISTORY_ANSWER_BYTES_MAX = 262_144;

/** Which messages of the log to read, and the answer. */
export interface HistoryQuestion {
  readonly room?: string;
  readonly limit: number;
  readonly before?: number;
}
export interface HistoryAnswer {
  readonly messages: readonly HistoryLine[];
  readonly more: boolean;
}

/** The newest messages that fit into one answer. */
export function cutHistory({ messages, more }: HistoryAnswer): HistoryAnswer {
  let from = messages.length;
  let bytes = 0;
  while (from > 0) {
    bytes += Buffer.byteLength(JSON.stringify(messages[from - 1]));
    if (bytes > HISTORY_ANSWER_BYTES_MAX) break;
    from -= 1;
  }
  if (from === 0) return { messages, more };
  return { messages: messages.slice(from), more: true };
}

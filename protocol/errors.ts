/** What can go wrong between two processes, by code; see `WIRE.md#errors`. */

/**
 * Whether the thing asked for may have happened. After a *definite* error it
 * did not and will not; after an *indefinite* one it may have, so a sender
 * repeats it only under the same identity (client and offset).
 */
export type Outcome = "definite" | "indefinite";

/** Every code that a node puts on the wire, and what it says of the outcome. */
export const WIRE_CODES = {
  /** Bytes that are not a frame, not JSON, or not the message expected. */
  "invalid-message": "definite",
  /** A frame, line or field above its bound; the text names both numbers. */
  "too-large": "definite",
  /** Text that is not UTF-8. */
  "invalid-utf8": "definite",
  /** Text with a NUL byte. */
  "nul-byte": "definite",
  /** The peer does not begin with Skein's preface. */
  "not-skein": "definite",
  /** No protocol version in common. */
  "version-mismatch": "definite",
  /** The peer belongs to a cluster of another name. */
  "cluster-mismatch": "definite",
  /** The peer has another role than this link needs. */
  "role-mismatch": "definite",
  /** One side has a cluster key and the other has none. */
  "key-required": "definite",
  /** The proof does not match the cluster key. */
  "wrong-key": "definite",
  /** The peer's address is neither loopback, link-local nor private. */
  "not-private": "definite",
  /** Plain text from where it is not accepted. */
  "lines-refused": "definite",
  /** Whoever asks has not shown that he may. */
  "not-allowed": "definite",
  /** The chain leads back to this node. */
  "cycle": "definite",
  /** A name, password or text that cannot be one; the text says why. */
  "invalid-name": "definite",
  "invalid-password": "definite",
  "control-character": "definite",
  /** Not before a login, or not after one. */
  "not-logged-in": "definite",
  "logged-in": "definite",
  /** No such user, or another password: which of the two is not said. */
  "wrong-password": "definite",
  /** An account of that name exists. */
  "name-taken": "definite",
  /** The message has nobody to go to. */
  "no-such-user": "definite",
  /** The session has ended, or never was; an earlier try may have succeeded. */
  "session-unknown": "indefinite",
  /** Another connection has resumed the session. */
  "session-moved": "indefinite",
  /** A sequence above the session's next one: the numbers before it are missing. */
  "sequence-gap": "definite",
  /** A sequence done so long ago that its result is forgotten. */
  "sequence-stale": "indefinite",
  /** The peer belongs to another group of this cluster: the two never mix. */
  "other-group": "definite",
  /** Another process has this node id, or another node this data directory. */
  "id-taken": "definite",
  /** The address leads to another node than was meant. */
  "wrong-node": "definite",
  /** There is no snapshot to be had here. */
  "no-snapshot": "definite",
  /** What was asked for cannot be read from the disk; the operator is told why. */
  "unreadable": "definite",
  /** At a bound of connections or memory; try again later. */
  "busy": "definite",
  /** No server can take a write or a linearizable read just now; try again. */
  "no-primary": "definite",
  /** The peer was silent, or did not read, for too long. */
  "timeout": "indefinite",
  /** The client reads more slowly than messages come; connect again and resume. */
  "slow-consumer": "indefinite",
  /** The server takes no new clients: it is being emptied; go to another. */
  "draining": "definite",
  /** The node is stopping; what it has not acknowledged may yet be delivered. */
  "shutting-down": "indefinite",
  /** The link broke; what was not acknowledged may yet be delivered. */
  "link-lost": "indefinite",
} as const satisfies Record<string, Outcome>;

/** One of {@linkcode WIRE_CODES}. */
export type WireCode = keyof typeof WIRE_CODES;

/** Whether `text` is a code that this version knows. */
export function isWireCode(text: string): text is WireCode {
  return Object.hasOwn(WIRE_CODES, text);
}

/** A peer's mistake or refusal: ends that link, never the process. */
export class WireError extends Error {
  override readonly name = "WireError";
  readonly code: WireCode;

  constructor(code: WireCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  /** Whether what was asked for may have happened. */
  get outcome(): Outcome {
    return WIRE_CODES[this.code];
  }
}

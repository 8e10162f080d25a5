/** A connection that carries writes, whatever the system at its other end. */

/** Bytes of every value that is written. */
export const VALUE_BYTES = 256;

/** What is written, by everybody: text, for a chat takes nothing else. */
export const VALUE = new TextEncoder().encode(
  "all these words are to be on disk before anybody says that they are; "
    .repeat(VALUE_BYTES).slice(0, VALUE_BYTES),
);

/** What becomes of the writes of one link. */
export interface WriteEvents {
  /** On disk wherever the system wants it before it says so. */
  acked(lane: number): void;
  /** Not written, or nobody knows. */
  refused(lane: number, reason: string): void;
  /** The link is gone, and with it the answers to all that is under way. */
  lost(reason: string): void;
}

/**
 * Carries writes of one value. Each is named by a lane: a number from 0 on
 * that is in use until the write is acknowledged or refused.
 */
export interface WriteLink {
  /** Puts a write behind those that go out next. */
  write(lane: number): void;
  /** Sends what was put; done by itself after each call of an event. */
  flush(): void;
  /** No event comes afterwards. */
  close(): void;
}

/** Which connection is meant. */
export interface Place {
  /** 0 first. */
  readonly client: number;
  /** How many connections it had before: the next one goes to another server. */
  readonly attempt: number;
}

/** Opens a connection; resolves when it takes writes. */
export type OpenLink = (
  place: Place,
  events: WriteEvents,
) => Promise<WriteLink>;

/** What one server keeps of the events of one life of a server. */

import type { LinkId } from "../../protocol/core.ts";
import type { Origin, RelayedEvent } from "../../protocol/mesh_peer.ts";
import type { RecentBounds } from "./contract.ts";
import { EarlyEvents } from "./early_events.ts";
import { Presence } from "./presence.ts";
import { RecentEvents } from "./recent_events.ts";

/** A question for what is missing; one at a time. */
export interface OpenAsk {
  readonly link: LinkId;
  /** As in the question. */
  readonly after: number | undefined;
  readonly untilMs: number;
  /** Nobody has more to offer: whatever comes is taken. */
  readonly isFinal: boolean;
}

/** After a number of a stream, with so many messages up to there. */
export interface Place {
  readonly n: number;
  readonly messages: number;
}

/** Where its stream is just before this event. */
export function before({ event }: RelayedEvent): Place {
  const { n, messages, body: { kind } } = event;
  const isMessage = kind === "msg" || kind === "dm";
  return { n: n - 1, messages: messages - (isMessage ? 1 : 0) };
}

export class Stream {
  readonly origin: Origin;
  /**
   * Whether it is known where this server begins to follow. Until then events
   * wait, for who is present there is not known either.
   */
  isMet: boolean;
  /** All up to this number were delivered, or told of as missed. */
  n = 0;
  /** Messages among them. */
  messages = 0;
  /** Ends with number `n`. */
  readonly recent: RecentEvents;
  /** All above `n + 1`, once it is met. */
  readonly early = new EarlyEvents();
  readonly presence = new Presence();
  ask: OpenAsk | undefined;
  /**
   * Neighbours that have not kept what comes next, and the number after which
   * they have: only when all who could are among them something is missed.
   */
  readonly offers = new Map<LinkId, number>();
  /** Monotonic: when the first of these offers came. */
  offeredMs = 0;
  /** What some neighbour had at the last beat. */
  wantedN = 0;
  /** Monotonic: until when it is waited for the origin to say who is present; undefined: not yet. */
  originUntilMs: number | undefined;

  constructor(
    origin: Origin,
    { isMet, recent }: { isMet: boolean; recent: RecentBounds },
  ) {
    this.origin = origin;
    this.isMet = isMet;
    this.recent = new RecentEvents(recent);
  }

  /** Begins to follow it in its midst. */
  beginAfter({ n, messages }: Place): void {
    this.isMet = true;
    this.n = n;
    this.messages = messages;
  }
}

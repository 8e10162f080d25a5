/** Answers lists of messages, once what they must show is applied. */

import {
  LIST_LIMIT_DEFAULT,
  type ListRequest,
} from "../../../protocol/chat.ts";
import { formatListed, formatOk } from "../../../protocol/chat_answers.ts";
import { WireError } from "../../../protocol/errors.ts";
import type { Client } from "./client.ts";
import type { WaitFailure } from "./index_waits.ts";
import { type ServiceContext, waitError } from "./service_context.ts";
import type { MessagePage } from "../state/state.ts";
import type { Message } from "../state/state_core.ts";

/** Characters of the messages of one answer; one message may exceed it. */
const LIST_CHARACTERS_MAX = 262_144;

/** When to try again what this server could not say. */
const AGAIN_MS = 200;

/** Lists messages for clients. */
export class Lists {
  readonly #context: ServiceContext;

  constructor(context: ServiceContext) {
    this.#context = context;
  }

  /** Takes a request of a client that is logged in. */
  begin(client: Client, request: ListRequest): void {
    const { seen = 0, linearizable = false } = request;
    const { waits, limits } = this.#context;
    const untilMs = this.#context.nowMs() + limits.requestWaitMs;
    client.open();
    const finish = (failure: WaitFailure | undefined) => {
      if (failure !== undefined) this.#fail(client, request, failure);
      else client.afterWrites(() => this.#answer(client, request));
    };
    if (!linearizable) return waits.applied(seen, untilMs, finish);
    waits.newest(untilMs, (failure) => {
      if (failure !== undefined) finish(failure);
      else waits.applied(seen, untilMs, finish);
    });
  }

  #fail(client: Client, { id }: ListRequest, failure: WaitFailure): void {
    this.#context.counters.refusedRequests += 1;
    client.sayError(waitError(failure), { id, retryMs: AGAIN_MS });
    client.settle();
  }

  #answer(client: Client, request: ListRequest): void {
    const { session } = client;
    const { state } = this.#context;
    const { id, after, before, limit = LIST_LIMIT_DEFAULT, unread } = request;
    if (session === undefined) {
      const error = new WireError("session-unknown", "The session has ended");
      client.sayError(error, { id });
      return client.settle();
    }
    const isAscending = after !== undefined || unread === true;
    let found: MessagePage;
    try {
      found = state.list(session.userId, {
        ...after !== undefined && { after },
        ...before !== undefined && { before },
        ...unread !== undefined && { unreadOnly: unread },
        limit,
      });
    } catch (error) {
      // No answer: what this server knows may have a hole, and it ends.
      return this.#context.fail(error);
    }
    const page = cut(found, isAscending);
    const head = formatOk(id, {
      index: state.applied.index,
      ...page.next !== undefined && { next: page.next },
    });
    const listed = page.messages.map(({ id: n, from, to, text, time }) =>
      formatListed({ n, from, to, text, time })
    );
    client.say(`${head.slice(0, -2)},"messages":[${listed.join(",")}]}\n`);
    client.settle();
  }
}

/** As many messages as one answer may hold, from the end at which the list began. */
function cut(page: MessagePage, isAscending: boolean): MessagePage {
  const found = isAscending ? page.messages : page.messages.toReversed();
  let characters = 0;
  let count = 0;
  while (count < found.length) {
    characters += found[count].text.length;
    if (characters > LIST_CHARACTERS_MAX && count > 0) break;
    count += 1;
  }
  if (count === found.length) return page;
  const kept: readonly Message[] = found.slice(0, count);
  return {
    messages: isAscending ? kept : kept.toReversed(),
    next: kept[count - 1].id,
  };
}

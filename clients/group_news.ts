/** What a change of the group means to somebody who chats in it. */

import type { ChatView } from "../protocol/chat_view.ts";
import { compareEpochs } from "../protocol/epoch.ts";

/** What the server says of a view that follows another to make it final. */
const SETTLED = / \(settled\)$/;

/** Reasons that are about votes and ballots alone. */
const ABOUT_VOTES = /^(?:\S+ votes|a ballot came to nothing)$/;

/** Knows the newest view. */
export class GroupNews {
  #known: ChatView | undefined;

  /**
   * Takes a view that a server tells of.
   *
   * @returns `old` if it is not newer; `votes` if nobody leads, came or went
   *   who did not before.
   */
  take(view: ChatView): "old" | "first" | "votes" | "news" {
    const known = this.#known;
    if (view.epoch === undefined || !isNewer(view, known)) return "old";
    this.#known = view;
    if (known === undefined) return "first";
    return isAboutVotes(view, known) ? "votes" : "news";
  }
}

/** Epochs of two groups are not compared: the one that is said last counts. */
function isNewer(view: ChatView, known: ChatView | undefined): boolean {
  if (known?.epoch === undefined || view.epoch === undefined) return true;
  const isOther = view.group !== undefined && known.group !== undefined &&
    view.group !== known.group;
  return isOther || compareEpochs(view.epoch, known.epoch) > 0;
}

function isAboutVotes(view: ChatView, known: ChatView): boolean {
  if (view.leader !== known.leader || view.group !== known.group) return false;
  const { reason = "" } = view;
  const settled = reason.replace(SETTLED, "");
  // The one that is settled may have been missed.
  if (settled !== reason && settled === known.reason) return true;
  return ABOUT_VOTES.test(settled);
}

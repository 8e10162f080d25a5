/** What goes into the core of `skein chat`, and what comes out. */

import type { Address } from "../protocol/address.ts";
import type { ChatAnswer, ChatMessage } from "../protocol/chat.ts";
import type { ChatView } from "../protocol/chat_view.ts";
import type { WireCode } from "../protocol/errors.ts";
import type { Outgoing, OutgoingResult } from "./chat_outbox.ts";

/** Why something did not work. */
export interface ChatProblem {
  readonly code: WireCode;
  readonly text: string;
}

/** Whom to log in as. */
export interface Credentials {
  readonly user: string;
  readonly password: string;
  /** Make the account first; one that is there already is as good. */
  readonly isNew: boolean;
}

/** A look at the messages of before. */
export interface ListCommand {
  readonly kind: "list";
  readonly limit: number;
  readonly unread: boolean;
}

export type ChatInput =
  /** Log in. Once first, and again after `refused`. */
  | { readonly kind: "login"; readonly credentials: Credentials }
  /** A connection stands; answers come from it alone until `link-down`. */
  | { readonly kind: "connected" }
  /** Discovery has found servers of the group; best first. */
  | { readonly kind: "found"; readonly addresses: readonly Address[] }
  | { readonly kind: "unreachable"; readonly problem: ChatProblem }
  | { readonly kind: "link-down"; readonly problem: ChatProblem }
  | { readonly kind: "answer"; readonly answer: ChatAnswer }
  /** After `want-input`, or at any time from somebody who types. */
  | { readonly kind: "command"; readonly command: Outgoing | ListCommand }
  /** The input that was wanted has been handed over, if there was any in it. */
  | { readonly kind: "more" }
  /** No more commands will come. */
  | { readonly kind: "end" }
  /** The time asked for has come; more often is harmless. */
  | { readonly kind: "wake" };

export type ChatEffect =
  /** Try once to reach a server, after a jittered wait that grows with `attempt`. */
  | {
    readonly kind: "dial";
    readonly address: Address;
    readonly attempt: number;
    /** It was logged in before: so may many others have been, at the same server. */
    readonly isAgain: boolean;
  }
  /** Write whole lines. */
  | { readonly kind: "write"; readonly lines: string }
  /** Close the connection; nothing more comes from it. */
  | { readonly kind: "close" }
  /** Give `wake` after so many ms. */
  | { readonly kind: "wake"; readonly afterMs: number }
  /** There is room for a command. */
  | { readonly kind: "want-input" }
  /** A message that was not shown before. */
  | { readonly kind: "show"; readonly message: ChatMessage }
  /** What a `list` found. */
  | { readonly kind: "listed"; readonly messages: readonly ChatMessage[] }
  /** Logged in: for the first time, or again after a break. */
  | { readonly kind: "ready"; readonly user: string; readonly again: boolean }
  /** The group has another view than the one known before, or is followed from now on. */
  | {
    readonly kind: "view";
    readonly view: ChatView;
    /** `votes`: nothing that somebody who chats would notice. */
    readonly news: "first" | "votes" | "news";
  }
  /** What became of a command. */
  | {
    readonly kind: "result";
    readonly command: Outgoing;
    readonly result: OutgoingResult;
  }
  /** A list could not be had. */
  | { readonly kind: "list-failed"; readonly problem: ChatProblem }
  /** Not logged in: wrong password or name. Say `login` again, or give up. */
  | { readonly kind: "refused"; readonly problem: ChatProblem }
  /** No server is reached just now; it goes on trying. */
  | { readonly kind: "trouble"; readonly problem: ChatProblem }
  /** A server is reached, and what was asked for is not done for a while; it goes on trying. */
  | { readonly kind: "stalled"; readonly problem: ChatProblem }
  /** What was stalled is being done again. */
  | { readonly kind: "going-on" }
  /** All is done, or nothing more can be. */
  | { readonly kind: "done"; readonly problem?: ChatProblem };

/** The one connection that a chat client has at a time, as its core hears of it. */

import { type Address, formatAddress } from "../protocol/address.ts";
import { WireError } from "../protocol/errors.ts";
import type { ChatProblem } from "./chat_contract.ts";
import { ChatLink } from "./chat_link.ts";

/** What becomes of the connection. */
export type LinkNews<Answer> =
  | { readonly kind: "connected" }
  | { readonly kind: "unreachable"; readonly problem: ChatProblem }
  | { readonly kind: "link-down"; readonly problem: ChatProblem }
  | { readonly kind: "answer"; readonly answer: Answer };

/** How answers are read, and who hears of them. */
export interface CurrentLinkOptions<Answer> {
  /** As of a {@linkcode ChatLink}. */
  readonly read: (line: string) => Answer | undefined;
  /** Of a connection that was given up nothing comes any more. */
  readonly tell: (news: LinkNews<Answer>) => void;
}

export class CurrentLink<Answer> {
  readonly #options: CurrentLinkOptions<Answer>;
  #link: ChatLink<Answer> | undefined;

  constructor(options: CurrentLinkOptions<Answer>) {
    this.#options = options;
  }

  /** Tries once; what comes of it is told. */
  async dial(address: Address): Promise<void> {
    const { read, tell } = this.#options;
    try {
      const link: ChatLink<Answer> = await ChatLink.connect(address, {
        read,
        onAnswer: (answer) => {
          if (this.#link === link) tell({ kind: "answer", answer });
        },
        onClosed: ({ code, message: text }) => {
          if (this.#link !== link) return;
          this.#link = undefined;
          tell({ kind: "link-down", problem: { code, text } });
        },
      });
      this.#link = link;
      tell({ kind: "connected" });
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      const text = `Cannot reach ${formatAddress(address)}: ${error.message}`;
      tell({ kind: "unreachable", problem: { code: error.code, text } });
    }
  }

  /** Writes whole lines, if it stands. */
  write(lines: string): void {
    this.#link?.write(lines);
  }

  close(): void {
    const link = this.#link;
    this.#link = undefined;
    link?.close();
  }
}

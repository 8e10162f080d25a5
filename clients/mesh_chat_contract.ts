/** What goes into the core of a mesh chat client, and what comes out. */

import type { Address } from "../protocol/address.ts";
import type { NodeId } from "../protocol/ids.ts";
import type {
  HistoryLine,
  MeshStatus,
  ToClient,
  Topology,
} from "../protocol/mesh.ts";
import type { ChatProblem } from "./chat_contract.ts";

/** A message that somebody has written: repeated, it would be there twice. */
export type MeshWritten =
  | {
    readonly kind: "say";
    readonly text: string;
    readonly room?: string;
    /** Only to clients of the same server. */
    readonly isLocal: boolean;
    /** Number of its line in the input, for errors. */
    readonly line: number;
  }
  | {
    readonly kind: "dm";
    readonly to: string;
    readonly text: string;
    readonly line: number;
  };

/** What may be asked again without harm when its answer was lost. */
export type MeshAsked =
  | { readonly kind: "join" | "leave"; readonly room: string }
  | { readonly kind: "who"; readonly room?: string }
  | {
    readonly kind: "history";
    readonly room?: string;
    readonly limit: number;
    readonly before?: number;
  }
  | { readonly kind: "topology"; readonly topology?: Topology }
  | { readonly kind: "rooms" | "trace" | "servers" };

export type MeshCommand = MeshWritten | MeshAsked;

/** What became of a command. */
export type MeshResult =
  /** `n`: the message's number in its server's stream. */
  | { readonly kind: "ok"; readonly n?: number | undefined }
  /** What was asked for. */
  | { readonly kind: "answered"; readonly answer: ToClient }
  /** It was not done, and will not be. */
  | { readonly kind: "refused"; readonly problem: ChatProblem }
  /** The link broke before anybody said: done or not. */
  | { readonly kind: "unknown" };

/** What a server said when it was asked how it is. */
export interface AskedServer {
  readonly address: Address;
  readonly status: MeshStatus;
}

export type MeshChatInput =
  /** Log in under this name. Once first, and again after `refused`. */
  | { readonly kind: "login"; readonly user: string }
  /** Who has answered to `ask`, and why another has not. */
  | {
    readonly kind: "asked";
    readonly servers: readonly AskedServer[];
    readonly problem?: ChatProblem | undefined;
    /** 0 up to 1, drawn anew: which of those that are as good to take. */
    readonly dice: number;
  }
  /** Discovery has found servers. */
  | { readonly kind: "found"; readonly addresses: readonly Address[] }
  /** A connection stands; answers come from it alone until `link-down`. */
  | { readonly kind: "connected" }
  | { readonly kind: "unreachable"; readonly problem: ChatProblem }
  | { readonly kind: "link-down"; readonly problem: ChatProblem }
  | { readonly kind: "answer"; readonly answer: ToClient }
  /** After `want-input`, or at any time from somebody who types. */
  | { readonly kind: "command"; readonly command: MeshCommand }
  /** The input that was wanted has been handed over, if there was any in it. */
  | { readonly kind: "more" }
  /** No more commands will come. */
  | { readonly kind: "end" }
  /** The time asked for has come; more often is harmless. */
  | { readonly kind: "wake" };

export type MeshChatEffect =
  /** Ask all these how they are, at once, after a jittered wait that grows with `attempt`. */
  | {
    readonly kind: "ask";
    readonly addresses: readonly Address[];
    readonly attempt: number;
    /** It was logged in before: so may many others have been, at the same server. */
    readonly isAgain: boolean;
  }
  /** Try once to connect, now. */
  | { readonly kind: "dial"; readonly address: Address }
  /** Write whole lines. */
  | { readonly kind: "write"; readonly lines: string }
  /** Close the connection; nothing more comes from it. */
  | { readonly kind: "close" }
  /** Give `wake` after so many ms. */
  | { readonly kind: "wake"; readonly afterMs: number }
  /** There is room for a command. */
  | { readonly kind: "want-input" }
  /** Something that a server says of itself, not in answer to a command. */
  | { readonly kind: "heard"; readonly answer: ToClient }
  /** Logged in: for the first time, or again after a break. */
  | {
    readonly kind: "ready";
    readonly user: string;
    readonly server: NodeId;
    readonly again: boolean;
  }
  /** Behind `ready` again: what others said since the break; what came meanwhile follows as `heard`. */
  | {
    readonly kind: "moved";
    readonly server: NodeId;
    readonly was: NodeId;
    /** Since when it had no server, in ms. */
    readonly gapMs: number;
    /** Oldest first. */
    readonly late: readonly HistoryLine[];
    /** Whether these are known to be all. */
    readonly isWhole: boolean;
  }
  /** This client has another name from now on. */
  | { readonly kind: "renamed"; readonly user: string }
  | {
    readonly kind: "result";
    readonly command: MeshCommand;
    readonly result: MeshResult;
  }
  /** Not logged in: the name is taken, or cannot be one. Say `login` again, or give up. */
  | { readonly kind: "refused"; readonly problem: ChatProblem }
  /** No server is reached just now; it goes on trying. */
  | { readonly kind: "trouble"; readonly problem: ChatProblem }
  /** All is done, or nothing more can be. */
  | { readonly kind: "done"; readonly problem?: ChatProblem };

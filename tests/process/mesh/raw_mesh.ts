/** A server of the mesh by hand: it shakes hands, and sends and reads what the test wants. */

import { parseAddress } from "../../../protocol/address.ts";
import { WireError } from "../../../protocol/errors.ts";
import type { Identity } from "../../../protocol/handshake.ts";
import type { PeerMessage, RelayedEvent } from "../../../protocol/mesh_peer.ts";
import {
  decodePeerMessage,
  encodePeerMessage,
} from "../../../protocol/mesh_peer_codec.ts";
import { FrameLink } from "../../../nodes/host/frame_link.ts";
import { dial } from "../../../nodes/host/link.ts";
import { bounded, until } from "../until.ts";

/** Long: only a test that waits for it should see a link end for silence. */
const SILENT_MS_MAX = 60_000;

/** Who it is, and whether it may. */
export interface RawMeshOptions {
  readonly id: string;
  readonly role?: Identity["role"];
  readonly incarnation?: string;
  readonly cluster?: string;
  readonly key?: Uint8Array;
}

/** A link to a server, which keeps what that server says. */
export class RawMesh implements AsyncDisposable {
  readonly messages: PeerMessage[] = [];
  readonly #link: FrameLink;
  readonly #over: Promise<void>;
  #end: WireError | undefined;

  private constructor(link: FrameLink) {
    this.#link = link;
    this.#over = this.#read();
  }

  /** Shakes hands, and says nothing yet. @throws {WireError} It is not let in. */
  static async greet(
    address: string,
    { id, role = "mesh", incarnation, cluster = "skein", key }: RawMeshOptions,
  ): Promise<RawMesh> {
    const open = await dial(parseAddress(address), {
      self: {
        ...{ cluster, role, id },
        incarnation: incarnation ?? "00000000000000aa",
      },
      accepts: ["mesh"],
      ...key !== undefined && { key },
    }, { silentMsMax: SILENT_MS_MAX });
    return new RawMesh(new FrameLink(open));
  }

  /** Shakes hands, says hello, and says where it is; messages come from then on. */
  static async join(
    address: string,
    options: RawMeshOptions & { readonly generation?: number },
  ): Promise<RawMesh> {
    const { id, generation = 1 } = options;
    const raw = await RawMesh.greet(address, options);
    raw.send({ kind: "hello", generation, known: 0 });
    await raw.until(
      "its hello",
      () => raw.messages.some(({ kind }) => kind === "hello"),
    );
    raw.beat({ id, generation });
    return raw;
  }

  /** Says that it is there, with a link to the server at the other end. */
  beat(
    self: { readonly id: string; readonly generation: number },
    more: { readonly version?: number; readonly address?: string } = {},
  ): void {
    const state = { version: 1, clients: 0, draining: false, ...more };
    this.send({
      kind: "beat",
      servers: [{ ...self, ...state, neighbours: [this.#link.peer.id] }],
      seen: [{ ...self, n: 0 }],
      topology: { topology: "mesh", version: 0, by: self.id },
    });
  }

  /** Events that came, in order. */
  get events(): RelayedEvent[] {
    return this.messages.flatMap((message) =>
      message.kind === "events" ? message.events : []
    );
  }

  send(message: PeerMessage): void {
    for (const frame of encodePeerMessage(message)) this.#link.send(frame);
  }

  /** Sends bytes that may be no frame at all. */
  write(bytes: Uint8Array): void {
    this.#link.send(bytes);
  }

  /** Why the server has ended the link; waits for that. */
  async farewell(): Promise<WireError> {
    await bounded("the server ends the link", this.#over);
    return this.#end ?? new WireError("link-lost", "without a word");
  }

  async until<T>(what: string, look: () => T | Promise<T>) {
    return await until(what, look, {
      hopeless: () => this.#end?.message,
      context: () => JSON.stringify(this.messages.slice(-5)),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#link.abort(new WireError("link-lost", "the test is over"));
    await this.#over;
  }

  async #read(): Promise<void> {
    try {
      for (;;) {
        for (const { kind, payload } of await this.#link.read()) {
          this.messages.push(decodePeerMessage(kind, payload));
        }
      }
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#end = error;
      this.#link.abort(error);
    }
  }
}

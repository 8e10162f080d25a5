/** A connection to an agent of serf: its RPC, as `serf members` speaks it. */

import Type from "typebox";
import { Value } from "typebox/value";
import { pack, type PackedFields, unpack } from "./message_pack.ts";
import type { MemberLink, MemberList } from "./system.ts";

const RPC_VERSION = 1;
const READ_BYTES = 16_384;

const Head = Type.Object({ Seq: Type.Integer(), Error: Type.String() });
const Body = Type.Object({
  Members: Type.Array(
    Type.Object({ Name: Type.String(), Status: Type.String() }),
  ),
});

/** One request at a time. */
export class SerfLink implements MemberLink {
  readonly #conn: Deno.TcpConn;
  readonly #self: string;
  #sequence = 0;
  #unread = new Uint8Array(0);

  private constructor(conn: Deno.TcpConn, self: string) {
    this.#conn = conn;
    this.#self = self;
  }

  /**
   * Resolves when the agent has agreed to talk.
   *
   * @param self The name of the agent that is there.
   */
  static async connect(
    address: { readonly hostname: string; readonly port: number },
    self: string,
  ): Promise<SerfLink> {
    const link = new SerfLink(await Deno.connect(address), self);
    try {
      link.#conn.setNoDelay(true);
      await link.#ask("handshake", { Version: RPC_VERSION });
      return link;
    } catch (error) {
      link.close();
      throw error;
    }
  }

  async members(): Promise<MemberList> {
    await this.#ask("members");
    const body = await this.#read();
    if (!Value.Check(Body, body)) {
      throw new Error(`Found no members in ${JSON.stringify(body)}`);
    }
    const names = body.Members.filter(({ Status }) => Status === "alive")
      .map(({ Name }) => Name);
    return {
      self: this.#self,
      isIn: names.includes(this.#self),
      names,
      leader: undefined,
      isSettled: true,
    };
  }

  close(): void {
    this.#conn.close();
  }

  /** Asks, and reads the head of the answer. */
  async #ask(command: string, body?: PackedFields): Promise<void> {
    const sequence = this.#sequence++;
    const head = pack({ Command: command, Seq: sequence });
    const said = body === undefined ? head : [...head, ...pack(body)];
    await this.#write(new Uint8Array(said));
    const answer = await this.#read();
    const isHead = Value.Check(Head, answer) && answer.Seq === sequence;
    if (!isHead || answer.Error !== "") {
      throw new Error(`"${command}" is answered ${JSON.stringify(answer)}`);
    }
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      at += await this.#conn.write(bytes.subarray(at));
    }
  }

  async #read(): Promise<unknown> {
    for (;;) {
      const unpacked = unpack(this.#unread, 0);
      if (unpacked !== undefined) {
        this.#unread = this.#unread.slice(unpacked.end);
        return unpacked.value;
      }
      const into = new Uint8Array(READ_BYTES);
      const count = await this.#conn.read(into);
      if (count === null) throw new Error("The agent closed the connection");
      this.#unread = new Uint8Array([
        ...this.#unread,
        ...into.subarray(0, count),
      ]);
    }
  }
}

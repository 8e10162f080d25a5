/** A chat server that takes nothing until it is told to. */

import { type Address, formatAddress } from "../../protocol/address.ts";

/** What it refuses with, as a group without a majority does. */
export const REFUSAL =
  "The group takes no writes just now: a majority of the voters; missing: b, c";

/** Logs everybody in, and says no to every message. */
export class StallingServer implements Disposable {
  /** Whether messages are taken from now on. */
  isWritable = false;
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });

  constructor() {
    void this.#accept();
  }

  /** For `-c`. */
  get address(): string {
    const { hostname, port } = this.#listener.addr;
    return formatAddress({ host: hostname, port } satisfies Address);
  }

  [Symbol.dispose](): void {
    this.#listener.close();
  }

  async #accept(): Promise<void> {
    try {
      for await (const conn of this.#listener) void this.#serve(conn);
    } catch {
      // Closed while somebody came.
    }
  }

  async #serve(conn: Deno.Conn): Promise<void> {
    let rest = "";
    try {
      for await (const text of conn.readable.pipeThrough(utf8())) {
        const lines = (rest + text).split("\n");
        rest = lines.pop() ?? "";
        const answers = lines.map((line) => this.#answer(JSON.parse(line)));
        await conn.write(new TextEncoder().encode(answers.join("")));
      }
    } catch {
      // The client has gone.
    }
  }

  #answer({ type, id }: { type: string; id: number }): string {
    const ok = {
      ...{ type: "ok", id, index: 1, n: 1, messages: [] },
      ...type === "login" && { user: "ann", session: "1", secret: "2" },
    };
    const no = {
      ...{ type: "error", id, code: "no-primary", text: REFUSAL },
      ...{ outcome: "definite", retryMs: 50 },
    };
    const isTaken = this.isWritable || type !== "send";
    return `${JSON.stringify(isTaken ? ok : no)}\n`;
  }
}

function utf8(): TransformStream<Uint8Array<ArrayBuffer>, string> {
  return new TextDecoderStream();
}

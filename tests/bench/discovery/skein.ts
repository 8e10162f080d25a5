/** Skein's chat as it is typed: no flags at all. */

import { ChatConnection } from "../../../clients/chat_connection.ts";
import { readNodeStatus } from "../../../protocol/status.ts";
import type { Machine } from "../../process/network.ts";
import { program } from "../../process/program.ts";
import { SkeinWrites } from "./skein_writes.ts";
import type { MemberLink, MemberList, System } from "./system.ts";

/** Where people reach a server that was told nothing. */
export const CLIENT_PORT = 8091;

/** Name of the system that all this is about. */
export const SKEIN = "Skein";

/** Each server keeps what was written, and votes. */
export const skein: System = {
  name: SKEIN,
  // Not what the runtime may have to say before.
  firstLine: /^\{"time"/,
  prepare: () => {},
  command: () => program("skein-chat"),
  connect: ({ host }) => SkeinLink.connect(host),
  write: (at) => SkeinWrites.start(at),
};

/** Asks for the status, as `skein status` does. */
class SkeinLink implements MemberLink {
  readonly #connection: ChatConnection;

  private constructor(connection: ChatConnection) {
    this.#connection = connection;
  }

  static async connect(host: Machine["host"]): Promise<SkeinLink> {
    const address = { host, port: CLIENT_PORT };
    return new SkeinLink(await ChatConnection.connect(address));
  }

  async members(): Promise<MemberList> {
    const fields = await this.#connection.request({ type: "status" });
    const { node, role, view, isWritable } = readNodeStatus(fields);
    const names = view?.members ?? [];
    return {
      self: node,
      isIn: role === "member" || role === "primary",
      names,
      leader: view?.primary,
      isSettled: isWritable && view?.voters.length === names.length &&
        view.previousVoters === undefined,
    };
  }

  close(): void {
    this.#connection.close();
  }
}

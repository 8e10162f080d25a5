/** `skein leave`: a server leaves its group for good. */

import { type Address, formatAddress } from "../protocol/address.ts";
import { readChatView } from "../protocol/chat_view.ts";
import { WireError } from "../protocol/errors.ts";
import { leaveProof } from "../protocol/leave_proof.ts";
import { orExit } from "../nodes/host/flags.ts";
import { type Log, openLog } from "../nodes/host/log.ts";
import { escapeText } from "../nodes/host/text.ts";
import { askService, type ChatService } from "./asked_servers.ts";
import {
  ChatConnection,
  type ChatFields,
  ChatRefusal,
} from "./chat_connection.ts";
import { showView } from "./chat_typed.ts";
import { nobody } from "./found_groups.ts";
import { type LeaveFlags, parseLeaveFlags } from "./leave_flags.ts";
import { localServers, whichServer } from "./local_servers.ts";
import { NodeSearch } from "./node_search.ts";
import { print } from "./shown_again.ts";

/** How long servers may take to answer where none is named. */
const SEARCH_WAIT_MS = 1_000;

/** How long a server may take to say of which service it is. */
const SERVICE_WAIT_MS = 1_000;

/** Exit codes: it has left; it has not, or perhaps has; wrong flags are 2. */
const EXIT_LEFT = 0;
const EXIT_NOT_LEFT = 1;

/** Sends a server away, and exits with 0 once it said that it has left. */
export async function main(args: readonly string[]): Promise<void> {
  const flags = orExit(() => parseLeaveFlags(args, Deno.env));
  const opened = openLog({ node: "skein-leave", level: "warn" });
  for (const warning of flags.warnings) opened.log.warn(warning);
  let code = EXIT_NOT_LEFT;
  try {
    const address = flags.connect.at(0) ?? await onlyServer(flags, opened.log);
    await leave(address, flags);
    code = EXIT_LEFT;
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    opened.log.error(error.message, { code: error.code });
  }
  await opened.flush();
  Deno.exit(code);
}

/**
 * The client port of the one server that runs on this machine.
 *
 * @throws {WireError} There is none, or more than one.
 */
async function onlyServer(
  { search }: LeaveFlags,
  log: Log,
): Promise<Address> {
  using nodes = new NodeSearch({ ...search, service: "chat", log });
  await new Promise((resolve) => setTimeout(resolve, SEARCH_WAIT_MS));
  const { groups, seekers } = nodes.found;
  const all = [...groups.flatMap((group) => group.nodes), ...seekers];
  if (all.length === 0) throw new WireError("wrong-node", nobody(search));
  const here = localServers(all);
  if (here.length === 1) return here[0].address;
  throw new WireError("wrong-node", whichServer(all, here, search));
}

/** @throws {WireError} It has not left, or nobody can say; the text says which. */
async function leave(address: Address, flags: LeaveFlags): Promise<void> {
  const { timeoutMs, search: { key } } = flags;
  await refuseMesh(address);
  const connection = await connect(address);
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    connection.close();
  }, timeoutMs);
  let node = formatAddress(address);
  try {
    const view = readChatView(await connection.request({ type: "watch" }));
    node = view?.node ?? node;
    say(`${node} is asked to leave its group for good`);
    const { voters } = await requestLeave(connection, { node, key });
    say(
      typeof voters === "number"
        ? `${node} has left: ${
          voters === 1 ? "1 voter remains" : `${voters} voters remain`
        }`
        : `${node} has left`,
    );
  } catch (error) {
    if (!(error instanceof WireError) || isDefinite(error)) throw error;
    const why = isLate
      ? `it did not say so within ${timeoutMs / 1_000} s`
      : error.message;
    throw new WireError(
      error.code,
      `${node} may have left or not: ${why}; "skein status" tells`,
      { cause: error },
    );
  } finally {
    clearTimeout(timer);
    connection.close();
  }
}

/** @throws {WireError} It is a mesh server: those have no group to leave. */
async function refuseMesh(address: Address): Promise<void> {
  let service: ChatService | undefined;
  try {
    service = await askService([address], SERVICE_WAIT_MS);
  } catch (error) {
    // Who is not reached is told so below; who does not say may be a server.
    if (!(error instanceof WireError)) throw error;
  }
  if (service !== "mesh") return;
  throw new WireError(
    "role-mismatch",
    `${
      formatAddress(address)
    } is a mesh server: "skein drain" sends its people away`,
  );
}

/** @throws {WireError} It is not reached, perhaps because it has left. */
async function connect(address: Address): Promise<ChatConnection> {
  try {
    return await ChatConnection.connect(address, {
      onPush: (push) => {
        if (push.type === "view") say(showView(push));
      },
    });
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause;
    throw new WireError(
      cause.code,
      `Cannot reach ${
        formatAddress(address)
      }: ${cause.message}; "skein status" tells whether it has left`,
      { cause },
    );
  }
}

/** Asks, and once more with a proof where one is wanted. */
async function requestLeave(
  connection: ChatConnection,
  { node, key }: {
    readonly node: string;
    readonly key: Uint8Array | undefined;
  },
): Promise<ChatFields> {
  try {
    return await connection.request({ type: "leave" });
  } catch (error) {
    if (!(error instanceof ChatRefusal)) throw error;
    const { challenge } = error;
    if (challenge === undefined) throw error;
    if (key === undefined) {
      const text = `${node} wants a proof of its cluster key: say --key-file`;
      throw new WireError("key-required", text);
    }
    // Else it could use the proof to send that one away.
    if (challenge.node !== node) {
      const text = `${node} asks for a proof that is for ${challenge.node}`;
      throw new WireError("wrong-node", text);
    }
    const { nonce } = challenge;
    const proof = leaveProof(key, challenge);
    return await connection.request({ type: "leave", nonce, proof });
  }
}

/** Whether the server, or this side, has said that nothing was done. */
function isDefinite(error: WireError): boolean {
  return error.outcome === "definite";
}

function say(text: string): void {
  print(escapeText(text));
}

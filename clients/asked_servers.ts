/** Asks servers how they are: of which chat service, and how many people are there. */

import { type Address, formatAddress } from "../protocol/address.ts";
import { type WireCode, WireError } from "../protocol/errors.ts";
import type { MeshStatus, ToClient } from "../protocol/mesh.ts";
import { readMeshAnswer } from "../protocol/mesh_answers.ts";
import { ChatLink } from "./chat_link.ts";
import type { ChatProblem } from "./chat_contract.ts";
import type { AskedServer } from "./mesh_chat_contract.ts";
import { MeshConnection } from "./mesh_connection.ts";
import { isFinal } from "./mesh_refusals.ts";

/** Addresses beside the first in a sentence. */
const NAMED_MAX = 4;

/** A service that `skein chat` speaks to: the replicated chat, or the mesh. */
export type ChatService = "chat" | "mesh";

/**
 * Asks all at once, each for at most `waitMs`.
 *
 * @returns Who answered, and what hindered the first that did not, which also
 *   names the others.
 */
export async function askMeshServers(
  addresses: readonly Address[],
  waitMs: number,
): Promise<{
  readonly servers: readonly AskedServer[];
  readonly problem: ChatProblem | undefined;
}> {
  const servers: AskedServer[] = [];
  const problems = await Promise.all(addresses.map(async (address) => {
    try {
      const status = await within(waitMs, address, meshStatus(address, waitMs));
      servers.push({ address, status });
      return [];
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      return [{ address, code: error.code, text: error.message }];
    }
  }));
  return { servers, problem: together(problems.flat()) };
}

/**
 * Whoever reads it may know only the first address: it was given, the others
 * were heard of. What may get better goes before what will not.
 */
function together(
  problems: readonly (ChatProblem & { readonly address: Address })[],
): ChatProblem | undefined {
  const main = problems.find(({ code }) => !isFinal(code)) ?? problems.at(0);
  if (main === undefined) return undefined;
  const { code, text } = main;
  const others = problems.filter((one) => one !== main);
  if (others.length === 0) return { code, text };
  const named = others.slice(0, NAMED_MAX)
    .map(({ address }) => formatAddress(address));
  const more = others.length - named.length;
  const rest = more > 0 ? ` and ${more} more` : "";
  return { code, text: `${text}; nor ${named.join(", ")}${rest}` };
}

/**
 * Asks all at once of which service they are; the first that answers counts.
 *
 * @throws {WireError} None answers within `waitMs`; says so of the first one.
 */
export async function askService(
  addresses: readonly Address[],
  waitMs: number,
): Promise<ChatService> {
  const asked = addresses.map((address) =>
    within(waitMs, address, serviceAt(address, waitMs))
  );
  try {
    return await Promise.any(asked);
  } catch (error) {
    if (!(error instanceof AggregateError)) throw error;
    for (const cause of error.errors) {
      if (cause instanceof WireError) throw cause;
    }
    throw error;
  }
}

async function meshStatus(
  address: Address,
  waitMs: number,
): Promise<MeshStatus> {
  using connection = await MeshConnection.connect(address);
  try {
    return await connection.status(waitMs);
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause;
    const text = `${formatAddress(address)}: ${cause.message}`;
    throw new WireError(cause.code, text, { cause });
  }
}

async function serviceAt(
  address: Address,
  waitMs: number,
): Promise<ChatService> {
  const answered = Promise.withResolvers<ChatService>();
  const fail = (code: WireCode, text: string) =>
    answered.reject(
      new WireError(code, `Cannot reach ${formatAddress(address)}: ${text}`),
    );
  let link: ChatLink<ChatService> | undefined;
  try {
    link = await ChatLink.connect<ChatService>(address, {
      read: serviceOf,
      onAnswer: (service) => answered.resolve(service),
      onClosed: ({ code, message }) => fail(code, message),
    });
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    fail("link-lost", error.message);
  }
  const timer = setTimeout(
    () => fail("timeout", `no answer within ${waitMs} ms`),
    waitMs,
  );
  link?.write('{"type":"status"}\n');
  try {
    return await answered.promise;
  } finally {
    clearTimeout(timer);
    link?.close();
  }
}

/**
 * Which service answers `status` like this: the replicated chat says `ok`, a
 * mesh server `status`; and only errors of the former tell their outcome.
 */
function serviceOf(line: string): ChatService | undefined {
  let answer: ToClient | undefined;
  try {
    answer = readMeshAnswer(line);
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    // An `ok` without an id is none of a mesh server; nor is HTTP of either.
    if (/^\{.*"type":"ok"/.test(line)) return "chat";
    throw new WireError("not-skein", "It is no chat server", { cause: error });
  }
  switch (answer?.type) {
    case "status":
    case "system":
      return "mesh";
    case "error":
      return /"outcome":/.test(line) ? "chat" : "mesh";
    case "ok":
      return "chat";
    default:
      // Something for others, or of another version.
      return undefined;
  }
}

/** Connecting has a longer wait of its own. */
async function within<T>(
  waitMs: number,
  address: Address,
  work: Promise<T>,
): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      const text = `${
        formatAddress(address)
      } does not answer within ${waitMs} ms`;
      reject(new WireError("timeout", text));
    }, waitMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
    // It fails by itself later, and nobody waits for it any more.
    work.catch(() => {});
  }
}

/** `skein status`: how a chat group or a mesh is, once or every second. */

import {
  type Address,
  formatAddress,
  parseAddress,
} from "../protocol/address.ts";
import { readAnswer } from "../protocol/chat_answers.ts";
import { WireError } from "../protocol/errors.ts";
import type { MeshStatus } from "../protocol/mesh.ts";
import { readMeshAnswer } from "../protocol/mesh_answers.ts";
import { type NodeStatus, readNodeStatus } from "../protocol/status.ts";
import { orExit } from "../nodes/host/flags.ts";
import { closeConn, connect } from "../nodes/host/link.ts";
import { type Log, openLog } from "../nodes/host/log.ts";
import { escapeJson } from "../nodes/host/text.ts";
import {
  clientAddresses,
  describeGroup,
  meshAddresses,
  nobody,
} from "./found_groups.ts";
import { meshReport, type MeshStatusAnswer } from "./mesh_report.ts";
import { NodeSearch } from "./node_search.ts";
import { print, showAgain, type Shown } from "./shown_again.ts";
import { parseStatusFlags, type StatusFlags } from "./status_flags.ts";
import {
  formatReport,
  type StatusAnswer,
  statusReport,
} from "./status_report.ts";

/** Bytes of an answer that is read; that of a full group has some 20,000. */
const STATUS_BYTES_MAX = 262_144;

/** Exit codes: the group takes writes; it does not; wrong flags are 2. */
const EXIT_WRITABLE = 0;
const EXIT_NOT_WRITABLE = 1;

/** What a server of either service says of itself. */
type Status =
  | { readonly status: NodeStatus }
  | { readonly mesh: MeshStatus };

type AnyAnswer = StatusAnswer | MeshStatusAnswer;

/** Shows the group, and exits with 0 if it took writes when last asked. */
export async function main(args: readonly string[]): Promise<void> {
  const flags = orExit(() => parseStatusFlags(args, Deno.env));
  const opened = openLog({ node: "skein-status", level: "warn" });
  for (const warning of flags.warnings) opened.log.warn(warning);
  const look = () => lookOnce(flags, opened.log);
  if (flags.watch) Deno.exit(await showAgain(look, flags));
  const { lines, code } = await look();
  await opened.flush();
  print(lines.join("\n"));
  Deno.exit(code);
}

async function lookOnce(flags: StatusFlags, log: Log): Promise<Shown> {
  const { json, timeoutMs } = flags;
  const { addresses, notes } = await serversOf(flags, log);
  const answers = await askAll(addresses, timeoutMs);
  const mesh = answers.filter(isOfMesh);
  if (mesh.length > 0 && !answers.some((one) => "status" in one)) {
    const { lines, isOpen, object } = meshReport(answers, notes);
    return {
      lines: json
        ? [escapeJson(JSON.stringify({ time: Date.now(), ...object }))]
        : lines,
      code: isOpen ? EXIT_WRITABLE : EXIT_NOT_WRITABLE,
    };
  }
  const report = statusReport(answers.map(ofChat), notes);
  return {
    lines: json
      ? [escapeJson(JSON.stringify({ time: Date.now(), ...report, answers }))]
      : formatReport(report, flags.watch ? columnsMax() : Infinity),
    code: report.isWritable ? EXIT_WRITABLE : EXIT_NOT_WRITABLE,
  };
}

/** As wide as the terminal: a row that wraps is hard to follow from one second to the next. */
function columnsMax(): number {
  return Deno.stdout.isTerminal() ? Deno.consoleSize().columns : Infinity;
}

/** Whom to ask, and what an operator should know of how they were found. */
async function serversOf(
  { connect, search, timeoutMs }: StatusFlags,
  log: Log,
): Promise<{ addresses: readonly Address[]; notes: readonly string[] }> {
  if (connect.length > 0) return { addresses: connect, notes: [] };
  using nodes = new NodeSearch({ ...search, service: undefined, log });
  const found = await nodes.firstGroup(timeoutMs);
  const [group, ...others] = found.groups;
  const notes = found.seekers.map(({ advert }) =>
    `${advert.id} is in no group yet`
  );
  const [mesh] = found.meshes;
  if (group === undefined && mesh !== undefined) {
    return { addresses: meshAddresses(mesh), notes };
  }
  if (group === undefined) {
    return { addresses: [], notes: [...notes, nobody(search)] };
  }
  notes.push(
    ...others.map((other) => `Another group answers: ${describeGroup(other)}`),
  );
  return { addresses: clientAddresses(group), notes };
}

/** Asks the servers that are given, and then those that these know of. */
async function askAll(
  connect: readonly Address[],
  timeoutMs: number,
): Promise<AnyAnswer[]> {
  const given = await Promise.all(
    connect.map((address) => answerOf({ address, timeoutMs })),
  );
  const asked = new Set(given.map(({ address }) => address));
  const answered = given.flatMap((one) => "status" in one ? [one.status] : []);
  const names = new Set(answered.map(({ node }) => node));
  const others = new Map<string, string>();
  for (const { id, clientAddress } of answered.flatMap(({ peers }) => peers)) {
    if (clientAddress === undefined || names.has(id)) continue;
    if (!asked.has(clientAddress)) others.set(clientAddress, id);
  }
  const more = await Promise.all(
    Array.from(others, ([text, node]) => {
      const address = addressOrNone(text);
      return address === undefined
        ? []
        : answerOf({ address, timeoutMs, node });
    }),
  );
  return [...given, ...more.flat()];
}

function addressOrNone(text: string): Address | undefined {
  try {
    return parseAddress(text);
  } catch (error) {
    // Only from a server of another version: it knows no better address.
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

async function answerOf(
  whom: {
    readonly address: Address;
    readonly timeoutMs: number;
    readonly node?: string;
  },
): Promise<AnyAnswer> {
  const { node, timeoutMs } = whom;
  const address = formatAddress(whom.address);
  try {
    return { address, ...await ask(whom.address, timeoutMs) };
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    const problem = error.message;
    return { address, problem, ...node !== undefined && { node } };
  }
}

/**
 * Asks one server.
 *
 * @throws {WireError} It cannot be reached, refuses, is late, or is none.
 */
async function ask(address: Address, timeoutMs: number): Promise<Status> {
  const startMs = performance.now();
  const conn = await connect(address, { waitMs: timeoutMs });
  const leftMs = Math.max(1, timeoutMs - (performance.now() - startMs));
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    closeConn(conn);
  }, leftMs);
  try {
    await conn.write(new TextEncoder().encode('{"type":"status"}\n'));
    return await readStatus(conn);
  } catch (cause) {
    if (isLate) {
      throw new WireError("timeout", `No answer within ${timeoutMs} ms`, {
        cause,
      });
    }
    if (cause instanceof WireError) throw cause;
    throw new WireError("link-lost", reasonOf(cause), { cause });
  } finally {
    clearTimeout(timer);
    closeConn(conn);
  }
}

/** The first answer; what else a server says before it is for others. */
async function readStatus(conn: Deno.TcpConn): Promise<Status> {
  const buffer = new Uint8Array(65_536);
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const count = await conn.read(buffer);
    if (count === null) {
      throw new WireError("link-lost", "The connection was closed");
    }
    text += decoder.decode(buffer.subarray(0, count), { stream: true });
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
      const line = text.slice(0, end);
      const answer = readAnswer(line);
      text = text.slice(end + 1);
      if (answer?.type === "ok") {
        return { status: readNodeStatus(answer.fields) };
      }
      const mesh = answer === undefined ? readMeshAnswer(line) : undefined;
      if (mesh?.type === "status") return { mesh };
      if (answer?.type === "error") {
        throw new WireError(answer.code, answer.text);
      }
    }
    if (text.length > STATUS_BYTES_MAX) {
      throw new WireError(
        "too-large",
        `Its answer has more than ${STATUS_BYTES_MAX} bytes`,
      );
    }
  }
}

function isOfMesh(answer: AnyAnswer): answer is MeshStatusAnswer {
  return "mesh" in answer;
}

/** Among servers of a group, one of a mesh is a mistake. */
function ofChat(answer: AnyAnswer): StatusAnswer {
  if (!isOfMesh(answer)) return answer;
  const { address, mesh: { server } } = answer;
  return { address, problem: `Server ${server} of a mesh` };
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

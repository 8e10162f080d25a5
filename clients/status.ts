/** `skein status`: how a chat group is, once or every second. */

import {
  type Address,
  formatAddress,
  parseAddress,
} from "../protocol/address.ts";
import { readAnswer } from "../protocol/chat_answers.ts";
import { WireError } from "../protocol/errors.ts";
import { type NodeStatus, readNodeStatus } from "../protocol/status.ts";
import { orExit } from "../nodes/host/flags.ts";
import { closeConn, connect } from "../nodes/host/link.ts";
import { parseStatusFlags, type StatusFlags } from "./status_flags.ts";
import {
  formatReport,
  type StatusAnswer,
  statusReport,
} from "./status_report.ts";

const WATCH_EVERY_MS = 1_000;

/** Bytes of an answer that is read; that of a full group has some 20,000. */
const STATUS_BYTES_MAX = 262_144;

/** Exit codes: the group takes writes; it does not; wrong flags are 2. */
const EXIT_WRITABLE = 0;
const EXIT_NOT_WRITABLE = 1;

/** Shows the group, and exits with 0 if it took writes when last asked. */
export async function main(args: readonly string[]): Promise<void> {
  const flags = orExit(() => parseStatusFlags(args, Deno.env));
  Deno.exit(await (flags.watch ? watch(flags) : show(flags)));
}

async function show(flags: StatusFlags): Promise<number> {
  const answers = await askAll(flags);
  print(linesOf(answers, flags).join("\n"));
  return exitCode(answers);
}

async function watch(flags: StatusFlags): Promise<number> {
  const stop = Promise.withResolvers<"stop">();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    if (Deno.build.os === "windows" && signal === "SIGTERM") continue;
    Deno.addSignalListener(signal, () => stop.resolve("stop"));
  }
  const redraws = Deno.stdout.isTerminal() && !flags.json;
  if (redraws) print("\x1b[2J", "");
  let code = EXIT_NOT_WRITABLE;
  for (;;) {
    const next = new Promise<void>((resolve) =>
      setTimeout(resolve, WATCH_EVERY_MS)
    );
    const answers = await Promise.race([askAll(flags), stop.promise]);
    if (answers === "stop") return code;
    code = exitCode(answers);
    const lines = linesOf(answers, flags);
    if (redraws) {
      const at = new Date().toLocaleTimeString();
      // Over what stands there: to clear it all first would flicker.
      const shown = [...lines, "", `${at}, Ctrl-C ends this`]
        .map((line) => `${line}\x1b[K\n`).join("");
      print(`\x1b[H${shown}\x1b[J`, "");
    } else print(lines.join("\n"), flags.json ? "\n" : "\n\n");
    if (await Promise.race([next, stop.promise]) === "stop") return code;
  }
}

function linesOf(
  answers: readonly StatusAnswer[],
  flags: StatusFlags,
): string[] {
  const report = statusReport(answers);
  if (!flags.json) return formatReport(report);
  return [JSON.stringify({ time: Date.now(), ...report, answers })];
}

function exitCode(answers: readonly StatusAnswer[]): number {
  return statusReport(answers).isWritable ? EXIT_WRITABLE : EXIT_NOT_WRITABLE;
}

function print(text: string, end = "\n"): void {
  const bytes = new TextEncoder().encode(`${text}${end}`);
  try {
    for (let at = 0; at < bytes.length;) {
      at += Deno.stdout.writeSync(bytes.subarray(at));
    }
  } catch (error) {
    // Whoever read it (`--watch | head`) has seen enough.
    if (error instanceof Deno.errors.BrokenPipe) Deno.exit(EXIT_WRITABLE);
    throw error;
  }
}

/** Asks the servers that are given, and then those that these know of. */
async function askAll(flags: StatusFlags): Promise<StatusAnswer[]> {
  const { connect, timeoutMs } = flags;
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
): Promise<StatusAnswer> {
  const { node, timeoutMs } = whom;
  const address = formatAddress(whom.address);
  try {
    return { address, status: await ask(whom.address, timeoutMs) };
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
async function ask(address: Address, timeoutMs: number): Promise<NodeStatus> {
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
async function readStatus(conn: Deno.TcpConn): Promise<NodeStatus> {
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
      const answer = readAnswer(text.slice(0, end));
      text = text.slice(end + 1);
      if (answer?.type === "ok") return readNodeStatus(answer.fields);
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

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

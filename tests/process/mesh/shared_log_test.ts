/** Processes that share a log, are killed and are stopped. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import {
  SharedLog,
  type SharedLogTrouble,
} from "../../../storage/shared_log.ts";
import { Random } from "../../sim/random.ts";
import { readWholeLog } from "../../storage/shared_log_lines.ts";
import { RunningProcess } from "../running_process.ts";
import { until } from "../until.ts";

const WRITER = new URL("./shared_log_writer.ts", import.meta.url).pathname;
const HOLDER = new URL("./shared_log_holder.ts", import.meta.url).pathname;
const SERVERS = ["A", "B", "C", "D"] as const;
const LINES_PER_SERVER = 25_000;
const KILLS = 12;

/** A server through all its lives. */
interface Writer {
  readonly server: string;
  process: RunningProcess;
  /** The number that the next life begins with. */
  first: number;
  /** By process id: the numbers that it surely has in the file. */
  readonly acked: Map<number, { readonly first: number; end: number }>;
}

for (
  const [what, fileBytesMax] of [
    ["one file", 67_108_864],
    ["many rotations", 100_000],
  ] as const
) {
  Deno.test(`shared log: four processes write 100,000 lines while one after the other is killed (${what})`, async () => {
    const folder = Deno.makeTempDirSync();
    const path = `${folder}/chat.log`;
    const random = new Random(fileBytesMax);
    const writers: Writer[] = [];
    try {
      for (const server of SERVERS) {
        const process = start({ folder, server, first: 0, fileBytesMax });
        writers.push({ server, process, first: 0, acked: new Map() });
      }
      for (let kill = 0; kill < KILLS; kill++) {
        const writer = writers[kill % SERVERS.length];
        const wanted = writer.first + 200 + random.int(1_200);
        await writer.process.until(
          `${writer.server} has written for a while`,
          () => ackedOf(writer.process, writer.first) >= wanted,
        );
        writer.process.signal("SIGKILL");
        const { signal } = await writer.process.ended();
        assertEquals(signal, "SIGKILL");
        noteLife(writer);
        await writer.process[Symbol.asyncDispose]();
        const { server, first } = writer;
        writer.process = start({ folder, server, first, fileBytesMax });
      }
      for (const { process } of writers) await process.endInput();
      for (const writer of writers) {
        const { code } = await writer.process.ended();
        assertEquals(code, 0, writer.process.describe());
        assertMatch(writer.process.outputText(), /^lost 0$/m);
        noteLife(writer);
        assert(writer.first >= LINES_PER_SERVER);
      }
      await check(path, writers);
      const files = [...Deno.readDirSync(folder)].length;
      assert(fileBytesMax > 1_000_000 || files > 50, `only ${files} files`);
    } finally {
      for (const { process } of writers) await process[Symbol.asyncDispose]();
      Deno.removeSync(folder, { recursive: true });
    }
  });
}

function start(
  { folder, server, first, fileBytesMax }: {
    readonly folder: string;
    readonly server: string;
    readonly first: number;
    readonly fileBytesMax: number;
  },
): RunningProcess {
  const count = Math.max(0, LINES_PER_SERVER - first);
  const args = [`${folder}/chat.log`, server, first, count];
  return new RunningProcess({
    name: `writer ${server}`,
    command: [
      ...[Deno.execPath(), "run", "--quiet", "--no-check"],
      ...["--allow-read", "--allow-write", WRITER],
      ...[...args, fileBytesMax].map(String),
    ],
    folder,
  });
}

/** Up to which number it has said that all is in the file. */
function ackedOf(process: RunningProcess, first: number): number {
  const all = [...process.outputText().matchAll(/^acked (\d+)$/gm)];
  return Number(all.at(-1)?.[1] ?? first);
}

function noteLife(writer: Writer): void {
  const end = ackedOf(writer.process, writer.first);
  writer.acked.set(writer.process.pid, { first: writer.first, end });
  writer.first = end;
  const troubles = writer.process.outputText().matchAll(/^trouble (\S+)/gm);
  // A line that was cut is the only trouble that a kill may make.
  for (const [, kind] of troubles) assertEquals(kind, "repaired");
}

async function check(path: string, writers: readonly Writer[]): Promise<void> {
  const { lines, findings } = await readWholeLog(path);
  assertEquals(findings, []);
  assertEquals(lines[0].seq, 1);
  assertEquals(lines.at(-1)?.seq, lines.length);
  assert(lines.length >= SERVERS.length * LINES_PER_SERVER);
  for (const { server, acked } of writers) {
    const byLife = new Map<number, number[]>();
    for (const { text = "" } of lines.filter((one) => one.server === server)) {
      const [life, number] = text.split(" ").map(Number);
      const numbers = byLife.get(life) ?? [];
      numbers.push(number);
      byLife.set(life, numbers);
    }
    for (const [life, { first, end }] of acked) {
      const numbers = byLife.get(life) ?? [];
      const wanted = numbers.map((_, index) => first + index);
      assertEquals(numbers, wanted, `server ${server}, process ${life}`);
      assert(
        first + numbers.length >= end,
        `server ${server}, process ${life}: ${end} were said to be there`,
      );
    }
  }
}

Deno.test({
  name:
    "shared log: a process that is stopped with the lock stops nobody, is named, and is repaired when it is killed",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    const folder = Deno.makeTempDirSync();
    const path = `${folder}/chat.log`;
    const troubles: SharedLogTrouble[] = [];
    const log = await SharedLog.open(path, {
      server: "A",
      onTrouble: (trouble) => troubles.push(trouble),
    });
    const append = (text: string) =>
      log.append({ type: "msg", timeMs: Date.now(), from: "Dana", text });
    try {
      append("before");
      await log.flush();
      await using holder = new RunningProcess({
        name: "holder",
        command: [Deno.execPath(), "run", "--quiet", "-A", HOLDER, path],
        folder,
      });
      await holder.until("it holds", () => holder.outputBytes > 0);
      await holder.freeze();
      append("while it is stopped");
      let turns = 0;
      await until("it is told", () => {
        turns += 1;
        return troubles.length > 0;
      });
      // Had the event loop stood still, this would not have come round.
      assert(turns > 100, `${turns} turns`);
      append("and another");
      const [{ kind, message, holderPid }] = troubles;
      assertEquals(kind, "waiting");
      if (Deno.build.os === "linux") {
        assertEquals(holderPid, holder.pid);
        assertMatch(message, /process \d+ \(.+\) holds it, and is stopped$/);
      }
      holder.signal("SIGKILL");
      await log.flush();
      assertEquals(troubles.map((trouble) => trouble.kind), [
        "waiting",
        "going-on",
        "repaired",
      ]);
      await log.close(0);
      const { lines, findings } = await readWholeLog(path);
      assertEquals(findings, []);
      assertEquals(lines.map(({ seq, text }) => [seq, text]), [
        [1, "before"],
        [2, "while it is stopped"],
        [3, "and another"],
      ]);
    } finally {
      await log.close(0);
      Deno.removeSync(folder, { recursive: true });
    }
  },
});

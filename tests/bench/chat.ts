/** `bench chat`: Skein's replicated chat beside etcd and NATS JetStream. */

import {
  defaultFlag,
  type FlagTable,
  optionalFlag,
  switchFlag,
} from "../../nodes/host/flag_table.ts";
import { path, wholeNumber } from "../../nodes/host/flag_values.ts";
import { orExit, parseFlags } from "../../nodes/host/flags.ts";
import { ChatBench, type ChatBenchOptions } from "./chat/chat_bench.ts";
import { seconds } from "./seconds.ts";
import { untilStopped } from "./until_stopped.ts";

/** What `bench chat` is, in a sentence. */
export const CHAT_BENCH_ABOUT =
  "Replicated writes and failover: Skein beside etcd and NATS JetStream.";

/** A look, in less than a minute and a half. */
const QUICK = { seconds: 0.5, rounds: 1, kills: 4, messages: 100_000 };

const table = {
  seconds: defaultFlag({
    names: ["--seconds"],
    value: seconds({ min: 0.05, max: 60 }),
    default: 1,
    about: "How long each load is measured, 0.05 to 60.",
  }),
  rounds: defaultFlag({
    names: ["--rounds"],
    value: wholeNumber({ min: 1, max: 100 }),
    default: 3,
    about: "How many times each system has its turn, 1 to 100.",
  }),
  kills: defaultFlag({
    names: ["--kills"],
    value: wholeNumber({ min: 1, max: 1_000 }),
    default: 20,
    about: "How many times Skein's primary is killed; others less often.",
  }),
  messages: defaultFlag({
    names: ["--messages"],
    value: wholeNumber({ min: 0, max: 10_000_000 }),
    default: 1_000_000,
    about: "How many are stored when memory and start are measured.",
  }),
  quick: switchFlag({
    names: ["--quick"],
    about: "A look in a minute: one round, few kills, few messages.",
  }),
  json: optionalFlag({
    names: ["--json"],
    value: path("file"),
    about: "Where to write all figures, round by round.",
  }),
} as const satisfies FlagTable;

/**
 * Measures and prints.
 *
 * @returns The exit code: 0 whatever the figures are, 130 when it was stopped.
 */
export async function benchChat(args: readonly string[]): Promise<number> {
  const { values } = orExit(() =>
    parseFlags(table, {
      program: "bench chat",
      about: `${CHAT_BENCH_ABOUT} Takes some six minutes.`,
      examples: [
        ["deno task bench chat", "all of it"],
        ["deno task bench chat --quick", "a quick look"],
        ["deno task bench chat --json FILE", "also round by round"],
      ],
      args,
      env: Deno.env,
    })
  );
  const { quick, ...options } = values;
  return await untilStopped((bench) => {
    const chosen: ChatBenchOptions = quick ? { ...options, ...QUICK } : options;
    return new ChatBench(bench, chosen).run();
  });
}

/** `deno task history`: writes what clients saw, and checks it. */

import { parseArgs } from "@std/cli/parse-args";
import { formatHistory, type HistoryEvent, parseHistory } from "./history.ts";
import { checkHistory } from "./linearizability.ts";

const HELP = `Usage: deno task history [--from sim|FILE] [OPTIONS]

Takes a history of client calls from a simulated chat group or from a file,
checks whether it is linearizable, and says so. Its format is described in
tests/history/README.md.

Options:
  --from sim|FILE   Where the history comes from (default sim)
  --seed S          Which simulated group (default 1)
  -o, --output FILE Write the history there, one JSON object a line
  --help            This text

Exits with 0 if it is linearizable, with 1 if not or if nobody knows.
`;

const flags = parseArgs(Deno.args, {
  string: ["from", "seed", "output"],
  boolean: ["help"],
  alias: { o: "output" },
  unknown: (text) => refuse(`"${text}" is not known`),
});
if (flags.help) {
  console.log(HELP.trimEnd());
  Deno.exit(0);
}
const events = await read(flags.from ?? "sim");
if (flags.output !== undefined) {
  await Deno.writeTextFile(flags.output, formatHistory(events));
  console.log(`${events.length} events are in ${flags.output}`);
}
const verdict = checkHistory(events);
switch (verdict.kind) {
  case "linearizable":
    console.log(`Linearizable: ${verdict.calls} calls`);
    break;
  case "broken":
    console.log(
      `Not linearizable, list "${verdict.key}": ${verdict.reason}`,
    );
    break;
  case "undecided":
    console.log(`Given up: list "${verdict.key}" has too many calls at once`);
    break;
}
Deno.exit(verdict.kind === "linearizable" ? 0 : 1);

async function read(from: string): Promise<readonly HistoryEvent[]> {
  if (from !== "sim") {
    if (flags.seed !== undefined) refuse("--seed is for --from sim");
    try {
      return parseHistory(await Deno.readTextFile(from));
    } catch (error) {
      refuse(
        `Cannot read "${from}": ${
          error instanceof Error ? error.message : error
        }`,
      );
    }
  }
  const seed = Number(flags.seed ?? 1);
  if (!Number.isSafeInteger(seed) || seed < 0) {
    refuse(`--seed is "${flags.seed}", wanted a whole number`);
  }
  const { runChat } = await import("../sim/chat_world.ts");
  const run = runChat(seed);
  for (const failure of run.failures) console.log(`FAILED: ${failure}`);
  return run.history;
}

function refuse(text: string): never {
  console.error(`history: ${text}. Try "deno task history --help"`);
  Deno.exit(2);
}

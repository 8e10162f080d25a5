/** `skein`: maps a command's name to what does it. */

import { completeCommands, orExit, VERSION } from "../nodes/host/flags.ts";
import { SEND_ABOUT, sendFlagTable } from "./send_flags.ts";

const HELP = `Usage: skein COMMAND [OPTIONS]

Commands:
  send   Send lines of text into a chain until the tail has them all

Options:
  -h, --help   This text; "skein COMMAND --help" tells more
  --version    Skein's version
  --completion bash|zsh|fish|pwsh
               What makes a shell complete commands and options

Examples:
  skein send -c 127.0.0.1:3525
  skein send -c 127.0.0.1:3525 --file notes.txt
`;

/** Runs one command of the people's tool. */
export async function main(args: readonly string[]): Promise<void> {
  const [command, ...rest] = args;
  switch (command) {
    case "send":
      return await (await import("./send.ts")).main(rest);
    case "--help":
    case "-h":
      console.log(HELP.trimEnd());
      return;
    case "--version":
      console.log(`skein ${VERSION}`);
      return;
    case "--completion":
      return orExit(() =>
        completeCommands(
          { send: { about: SEND_ABOUT, table: sendFlagTable } },
          { program: "skein", args },
        )
      );
    default:
      console.error(
        `skein: ${
          command === undefined
            ? "a command is missing"
            : `"${command}" is no command`
        }; wanted: send. Try "skein --help"`,
      );
      Deno.exit(2);
  }
}

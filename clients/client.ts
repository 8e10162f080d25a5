/** `skein`: maps a command's name to what does it. */

import { completeCommands, orExit, VERSION } from "../nodes/host/flags.ts";
import { CHAT_ABOUT, chatFlagTable } from "./chat_flags.ts";
import { DISCOVER_ABOUT, discoverFlagTable } from "./discover_flags.ts";
import { DRAIN_ABOUT, drainFlagTable } from "./drain_flags.ts";
import { LEAVE_ABOUT, leaveFlagTable } from "./leave_flags.ts";
import { LOG_ABOUT, logFlagTable } from "./log_flags.ts";
import { SEND_ABOUT, sendFlagTable } from "./send_flags.ts";
import { STATUS_ABOUT, statusFlagTable } from "./status_flags.ts";
import { TOPOLOGY_ABOUT, topologyFlagTable } from "./topology_flags.ts";
import { TRACE_ABOUT, traceFlagTable } from "./trace_flags.ts";

const HELP = `Usage: skein COMMAND [OPTIONS]

Commands:
  chat      Chat: with accounts in a group, or by name alone in a mesh
  send      Send lines of text into a chain until the tail has them all
  discover  Show which nodes answer on this network, and their groups
  status    Show a chat group or a mesh: which servers, and how each is
  leave     Send a server out of its group for good
  topology  Show how messages go through a mesh, or switch it
  trace     Show the way of one message through a mesh
  drain     Send the clients of a mesh server to others
  log       Show, follow or verify the log that the servers of a mesh share

Options:
  -h, --help   This text; "skein COMMAND --help" tells more
  --version    Skein's version
  --completion bash|zsh|fish|pwsh
               What makes a shell complete commands and options

Examples:
  skein chat                              a group on this network
  skein chat -c 127.0.0.1:8091,127.0.0.1:8092
  skein chat 127.0.0.1 5001 ann           a mesh server, and a name
  skein discover
  skein status --watch
  skein leave -c 127.0.0.1:8092
  skein topology ring -c 127.0.0.1:5001
  skein drain -c 127.0.0.1:5001 --wait    before that server is stopped
  skein log -f                            the log of a mesh, as it goes on
  skein send -c 127.0.0.1:3525 --file notes.txt
`;

/** Runs one command of the people's tool. */
export async function main(args: readonly string[]): Promise<void> {
  const [command, ...rest] = args;
  switch (command) {
    case "chat":
      return await (await import("./chat.ts")).main(rest);
    case "send":
      return await (await import("./send.ts")).main(rest);
    case "discover":
      return await (await import("./discover.ts")).main(rest);
    case "status":
      return await (await import("./status.ts")).main(rest);
    case "leave":
      return await (await import("./leave.ts")).main(rest);
    case "topology":
      return await (await import("./topology.ts")).main(rest);
    case "trace":
      return await (await import("./trace.ts")).main(rest);
    case "drain":
      return await (await import("./drain.ts")).main(rest);
    case "log":
      return await (await import("./log.ts")).main(rest);
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
          {
            chat: { about: CHAT_ABOUT, table: chatFlagTable },
            send: { about: SEND_ABOUT, table: sendFlagTable },
            discover: { about: DISCOVER_ABOUT, table: discoverFlagTable },
            status: { about: STATUS_ABOUT, table: statusFlagTable },
            leave: { about: LEAVE_ABOUT, table: leaveFlagTable },
            topology: { about: TOPOLOGY_ABOUT, table: topologyFlagTable },
            trace: { about: TRACE_ABOUT, table: traceFlagTable },
            drain: { about: DRAIN_ABOUT, table: drainFlagTable },
            log: { about: LOG_ABOUT, table: logFlagTable },
          },
          { program: "skein", args },
        )
      );
    default:
      console.error(
        `skein: ${
          command === undefined
            ? "a command is missing"
            : `"${command}" is no command`
        }; wanted: chat, send, discover, status, leave, topology, trace, drain, log. Try "skein --help"`,
      );
      Deno.exit(2);
  }
}

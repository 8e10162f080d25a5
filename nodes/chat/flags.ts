/** The flags of `skein-chat`. */

import { type Address, formatAddress } from "../../protocol/address.ts";
import {
  defaultFlag,
  type FlagTable,
  optionalFlag,
  switchFlag,
} from "../host/flag_table.ts";
import {
  address,
  byteSize,
  choice,
  duration,
  wholeNumber,
} from "../host/flag_values.ts";
import {
  type Environment,
  type ParsedFlags,
  parseFlags,
} from "../host/flags.ts";
import {
  groupFlags,
  listenFor,
  type NodeSettings,
  readNodeSettings,
} from "./group/group_flags.ts";
import { SCRYPT_COST } from "./service/passwords.ts";

/** From where a server takes clients. */
export type ClientsFrom = "loopback" | "private" | "any";

/** What a chat server is told to do. */
export interface ChatSettings extends NodeSettings {
  readonly listenClients: Address;
  /** Whether another port will do if that one is in use. */
  readonly mayMoveClientPort: boolean;
  readonly clientsFrom: ClientsFrom;
  /** Leave the group for good when told to stop. */
  readonly leavesOnExit: boolean;
  /** Take the vote of a node that is dead for so long, in ms; undefined: never. */
  readonly forgetAfterMs: number | undefined;
  /** Whoever has the highest leads, then whoever has the highest id. */
  readonly priority: number;
  /** A working primary of lower rank is left to lead. */
  readonly isSticky: boolean;
  /** Size of a segment of the log, in bytes; four of them make a snapshot due. */
  readonly segmentBytes: number;
  /** Bytes of the log that are read again in a second, to find damage; 0: none. */
  readonly scrubBytes: number;
  /** log2 of scrypt's N for new passwords. */
  readonly passwordCost: number;
}

/** Where clients come in when nothing is configured, as the seed has it. */
export const CLIENT_PORT = 8091;

const PRIORITY_MAX = 1_000_000;
const SERVER_NUMBER_MAX = 99;

/** More would hold up what people ask for. */
const SCRUB_BYTES_MAX = 8_388_608;

const table = {
  serverNumber: optionalFlag({
    names: ["--server-number"],
    value: wholeNumber({ min: 1, max: SERVER_NUMBER_MAX }),
    about:
      "Which server of the group in SERVER1_IP, SERVER2_IP … this is; its id is server-N.",
    variable: "SERVER_NUMBER",
  }),
  listen: optionalFlag({
    names: ["-l", "--listen"],
    value: address({ defaultHost: "0.0.0.0", portMin: 0 }),
    defaultText: `its CLIENT_PORT, else ${CLIENT_PORT}`,
    about:
      "Where people come in, with skein chat or nc; a bare port listens at 0.0.0.0. Where nothing is configured, a port in use is passed over for one of the next.",
    variable: "SKEIN_LISTEN",
  }),
  clients: defaultFlag({
    names: ["--clients"],
    value: choice(["loopback", "private", "any"]),
    default: "private",
    about:
      "From which addresses to take people: of this machine, of private networks as well, or any.",
    variable: "SKEIN_CLIENTS",
  }),
  priority: defaultFlag({
    names: ["--priority"],
    value: wholeNumber({ min: 0, max: PRIORITY_MAX }),
    default: 0,
    about: "The server with the highest leads, before the ids count.",
    variable: "SKEIN_PRIORITY",
  }),
  sticky: switchFlag({
    names: ["--sticky"],
    about: "Leave a primary of lower rank to lead while it works.",
    variable: "SKEIN_STICKY",
  }),
  leaveOnExit: switchFlag({
    names: ["--leave-on-exit"],
    about:
      "Leave the group for good when told to stop: the others no longer count on this server's vote.",
    variable: "SKEIN_LEAVE_ON_EXIT",
  }),
  forgetAfter: optionalFlag({
    names: ["--forget-after"],
    value: duration({ msMin: 1_000, msMax: 30 * 24 * 3_600_000 }),
    defaultText: "never",
    about:
      "Take the vote of a server or witness that is dead for so long, one at a time; whoever comes back joins again. Say it to all servers.",
    variable: "SKEIN_FORGET_AFTER",
  }),
  passwordCost: defaultFlag({
    names: ["--password-cost"],
    value: wholeNumber({ min: 10, max: 17 }),
    default: SCRYPT_COST.ln,
    about:
      "How dear it is to guess a password: log2 of scrypt's N; one more doubles the time of a login and its memory.",
    variable: "SKEIN_PASSWORD_COST",
  }),
  segment: defaultFlag({
    names: ["--segment"],
    value: byteSize({ bytesMin: 65_536, bytesMax: 1_073_741_824 }),
    default: 16_777_216,
    about:
      "Size of one file of the log; after four of them a snapshot takes their place.",
    variable: "SKEIN_SEGMENT",
  }),
  scrub: defaultFlag({
    names: ["--scrub"],
    value: byteSize({ bytesMin: 0, bytesMax: SCRUB_BYTES_MAX }),
    default: 1_048_576,
    about:
      "How much of the log to read again in a second, to find damage while another server can mend it; 0 turns it off.",
    variable: "SKEIN_SCRUB",
  }),
  ...groupFlags,
} as const satisfies FlagTable;

/**
 * Reads what `skein-chat` was started with.
 *
 * @param envFile Stands behind the environment.
 * @throws {FlagsExit} For help, and for what is missing, wrong or contradicts.
 */
export function parseChatFlags(
  args: readonly string[],
  env: Environment,
  envFile = ".env",
): ChatSettings {
  const flags = parseFlags(table, {
    program: "skein-chat",
    about:
      "A server of the replicated chat: keeps every acknowledged message while a majority of servers and witnesses, one server among them, lives.",
    examples: [
      ["skein-chat", "finds its group, or begins one"],
      ["skein-chat --discover dns:chat.lab", "finds it behind a name"],
      ["skein-chat --discover static", "one server alone, to try it"],
      ["skein-chat --server-number 2", "server 2 of the group in .env"],
      ["skein-chat --id a --server a=HOST1:8081 …", "without an .env"],
      ["skein-chat recover --help", "when a majority is lost for good"],
    ],
    args,
    env,
    envFile,
  });
  const { values } = flags;
  const node = readNodeSettings(flags, {
    kind: "server",
    env,
    number: values.serverNumber,
    numberSaid: flags.said("serverNumber"),
    isNumberFlag: flags.source("serverNumber") === "flag",
  });
  const listenClients = values.listen ?? listenClientsFor(node);
  checkPorts(flags, { ...node, listenClients });
  return {
    ...node,
    listenClients,
    mayMoveClientPort: node.discover !== undefined &&
      values.listen === undefined,
    clientsFrom: values.clients,
    leavesOnExit: values.leaveOnExit,
    forgetAfterMs: values.forgetAfter,
    priority: values.priority,
    isSticky: values.sticky,
    segmentBytes: values.segment,
    scrubBytes: values.scrub,
    passwordCost: values.passwordCost,
    warnings: values.clients === "any"
      ? [
        ...node.warnings,
        "People from any address may come in, and what they send is not encrypted, passwords included",
      ]
      : node.warnings,
  };
}

function listenClientsFor(node: NodeSettings): Address {
  const self = node.group.find(({ id }) => id === node.id);
  if (self?.clients !== undefined) return listenFor(self.clients);
  const isAlone = node.group.length <= 1;
  const host = self === undefined || isAlone
    ? "0.0.0.0"
    : listenFor(self.address).host;
  return { host, port: CLIENT_PORT };
}

/** One port cannot be listened at twice. */
function checkPorts(
  flags: ParsedFlags<typeof table>,
  node: NodeSettings & { readonly listenClients: Address },
): void {
  const { listenClients, listenReplica, admin } = node;
  const places: { name: keyof typeof table; address: Address }[] = [
    { name: "listen", address: listenClients },
    { name: "listenReplica", address: listenReplica },
  ];
  if (admin !== undefined) places.push({ name: "admin", address: admin });
  for (const [index, { name, address }] of places.entries()) {
    const other = places.slice(0, index).find((one) =>
      one.address.port === address.port && address.port !== 0 &&
      overlap(one.address.host, address.host)
    );
    if (other === undefined) continue;
    throw flags.refusal(
      `${flags.said(other.name)} and ${flags.said(name)} are one port: ${
        formatAddress(other.address)
      } and ${formatAddress(address)}`,
    );
  }
}

function overlap(one: string, other: string): boolean {
  return one === other ||
    [one, other].some((host) => host === "0.0.0.0" || host === "::");
}

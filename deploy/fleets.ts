/** The fleets that `deno task cluster` can start: one row each. */

import {
  type Address,
  formatAddress,
  parseAddress,
} from "../protocol/address.ts";

/** One process of a fleet. */
export interface FleetNode {
  /** Shown before each of its lines; printable ASCII, without spaces. */
  readonly name: string;
  /** What follows `main.ts`. */
  readonly arguments: readonly string[];
  /** Over the launcher's own environment. */
  readonly environment: Readonly<Record<string, string>>;
  /** Where it will listen, TCP; checked to be free before anything starts. */
  readonly listens: readonly Address[];
  /** Answers 200 when the node can do its job. */
  readonly readyUrl: string;
}

/** Processes that are started, watched and stopped together. */
export interface Fleet {
  /** Its row in {@linkcode FLEETS}, and with other ports its first port. */
  readonly name: string;
  readonly nodes: readonly FleetNode[];
  /** Lines that say how to use it, shown when all nodes are ready. */
  readonly howToReach: readonly string[];
  /** Where its nodes keep what outlives them; undefined: they keep nothing. */
  readonly data?: string;
}

/** What a fleet is built from. */
export interface FleetSite {
  /** The fleet's name, see {@linkcode Fleet.name}. */
  readonly name: string;
  /** As many as the row's own, in the same order. */
  readonly ports: readonly number[];
  /** A folder for the fleet's data, which need not exist; only its own. */
  readonly data: string;
}

/** A row: what one needs to build a fleet on given ports. */
export interface FleetRecipe {
  readonly summary: string;
  /** The usual ports; others are as many. */
  readonly ports: readonly number[];
  readonly build: (site: FleetSite) => Fleet;
}

// What one node is told and another is not. Empty counts as absent, and hides
// what a person's `.env` has for a node of their own.
const UNSET = {
  SKEIN_NEXT: "",
  SKEIN_NEXT_FROM_ORDINAL: "",
  SKEIN_SIZE: "",
  SKEIN_OUTPUT: "",
  SKEIN_SPOOL: "",
  SKEIN_LISTEN_REPLICA: "",
  SKEIN_PRIORITY: "",
  SERVER_NUMBER: "",
  WITNESS_NUMBER: "",
  SKEIN_PEERS: "",
  SKEIN_PEERS_FILE: "",
  SKEIN_DISCOVER: "",
  SKEIN_ADVERTISE: "",
};
const HOST = "127.0.0.1";
/** Works from a checkout on a machine that has only Node. */
const TASK = "npx -y deno@2.9.6 task";

/** All fleets by name. */
export const FLEETS: Readonly<Record<string, FleetRecipe>> = {
  chain: {
    summary: "four nodes that pass messages from the head to the tail",
    // The head's port is above its successor's: so the seed has it.
    ports: [3525, 3524, 3526, 3527, 13525, 13524, 13526, 13527],
    build: chainFleet,
  },
  chat: {
    summary: "three chat servers and two witnesses: any two of them may die",
    // Replica ports of servers and witnesses, client ports, admin pages.
    ports: [
      ...[8081, 8082, 8083, 8084, 8085],
      ...[8091, 8092, 8093],
      ...[18091, 18092, 18093, 18094, 18095],
    ],
    build: chatFleet,
  },
  mesh: {
    summary: "three servers that relay to one another, with one log",
    // People and servers, then admin pages.
    ports: [5001, 5002, 5003, 15001, 15002, 15003],
    build: meshFleet,
  },
};

/** What `deno task cluster` starts when it is not told. */
export const DEFAULT_FLEET = "chat";

/**
 * Builds a fleet from its row, on the usual ports or from `basePort` up.
 *
 * @param name A key of {@linkcode FLEETS}.
 */
export function buildFleet(
  name: string,
  options: { readonly basePort?: number; readonly stateFolder: string },
): Fleet {
  const recipe = FLEETS[name];
  const { basePort, stateFolder } = options;
  const fleet = basePort === undefined ? name : `${name}-${basePort}`;
  return recipe.build({
    name: fleet,
    ports: basePort === undefined
      ? recipe.ports
      : recipe.ports.map((_, index) => basePort + index),
    data: `${stateFolder}/data/${fleet}`,
  });
}

/** Four nodes in a row; `ports` are theirs, then those of their admin pages. */
function chainFleet({ name, ports }: FleetSite): Fleet {
  const size = ports.length / 2;
  const addresses = ports.map((port) => ({ host: HOST, port }));
  const nodes: FleetNode[] = [];
  for (let index = 0; index < size; index += 1) {
    const listen = addresses[index];
    const admin = addresses[size + index];
    const id = `server${index}`;
    const next = index + 1 < size
      ? ["-n", formatAddress(addresses[index + 1])]
      : [];
    nodes.push({
      name: id,
      arguments: [
        ...["chain", "-l", formatAddress(listen), ...next],
        ...["--id", id, "--admin", formatAddress(admin)],
        ...["--print", "full", "--exit-with-parent"],
      ],
      environment: UNSET,
      listens: [listen, admin],
      readyUrl: `http://${formatAddress(admin)}/readyz`,
    });
  }
  const head = formatAddress(addresses[0]);
  return {
    name,
    nodes,
    howToReach: [
      `The chain: you -> ${
        addresses.slice(0, size).map(formatAddress).join(" -> ")
      }`,
      `  type to it    ${TASK} client send -c ${head}`,
      `  or plainly    nc ${HOST} ${addresses[0].port}`,
      ...nodes.map((node, index) =>
        `  ${index === 0 ? "admin pages" : "           "}   http://${
          formatAddress(addresses[size + index])
        }/ ${node.name}`
      ),
    ],
  };
}

const CHAT_SERVERS = 3;
const CHAT_WITNESSES = 2;

/** Servers and witnesses; `ports` as the row has them. */
function chatFleet({ name, ports, data }: FleetSite): Fleet {
  const size = CHAT_SERVERS + CHAT_WITNESSES;
  const addresses = ports.map((port) => formatAddress({ host: HOST, port }));
  const clients = addresses.slice(size, size + CHAT_SERVERS);
  const admins = addresses.slice(size + CHAT_SERVERS);
  const places = Array.from({ length: size }, (_, index) => {
    const isServer = index < CHAT_SERVERS;
    const kind = isServer ? "server" : "witness";
    const number = isServer ? index + 1 : index + 1 - CHAT_SERVERS;
    return { kind, id: `${kind}-${number}` };
  });
  const group = places.flatMap(({ kind, id }, index) => [
    ...[`--${kind}`, `${id}=${addresses[index]}`],
  ]);
  const nodes = places.map(({ kind, id }, index): FleetNode => {
    const client = clients.at(index);
    return {
      name: id,
      arguments: [
        ...[kind === "server" ? "chat" : "witness", "--id", id, ...group],
        ...client === undefined ? [] : ["-l", client],
        ...["--data", `${data}/${id}`, "--admin", admins[index]],
        "--exit-with-parent",
      ],
      environment: UNSET,
      listens: [addresses[index], ...client === undefined ? [] : [client]]
        .concat(admins[index]).map((address) => parseAddress(address)),
      readyUrl: `http://${admins[index]}/readyz`,
    };
  });
  return {
    name,
    nodes,
    data,
    howToReach: [
      `The chat: ${CHAT_SERVERS} servers and ${CHAT_WITNESSES} witnesses, of which any two may die`,
      `  talk          ${TASK} client chat -c ${clients.join(",")}`,
      `  or plainly    nc ${HOST} ${
        ports[size]
      }, then {"type":"help"}; any server will do`,
      `  how it is     ${TASK} client status -c ${clients.join(",")} --watch`,
      `  kept in       ${data} ("cluster chat --fresh" starts without it)`,
      ...nodes.map((node, index) =>
        `  ${index === 0 ? "admin pages" : "           "}   http://${
          admins[index]
        }/ ${node.name}`
      ),
    ],
  };
}

/** Servers A, B, C; `ports` are theirs, then those of their admin pages. */
function meshFleet({ name, ports, data }: FleetSite): Fleet {
  const size = ports.length / 2;
  const addresses = ports.map((port) => formatAddress({ host: HOST, port }));
  const ids = Array.from(
    { length: size },
    (_, index) => String.fromCharCode("A".charCodeAt(0) + index),
  );
  const log = `${data}/chat.log`;
  const nodes = ids.map((id, index): FleetNode => {
    const others = ids.flatMap((other, at) =>
      at === index ? [] : ["--peer", `${other}=${addresses[at]}`]
    );
    const admin = addresses[size + index];
    return {
      name: id,
      arguments: [
        ...["mesh", id, HOST, String(ports[index]), log, ...others],
        ...["--admin", admin, "--exit-with-parent"],
      ],
      environment: UNSET,
      listens: [addresses[index], admin].map((address) =>
        parseAddress(address)
      ),
      readyUrl: `http://${admin}/readyz`,
    };
  });
  const servers = addresses.slice(0, size);
  return {
    name,
    nodes,
    data,
    howToReach: [
      `The mesh: servers ${ids.join(", ")}, each linked to each`,
      ...servers.map((server, index) =>
        `  ${
          index === 0 ? "talk       " : "           "
        }   ${TASK} client chat ${server.replace(":", " ")} ${
          ["Dana", "Ahmad", "Lina"][index % 3]
        }`
      ),
      `  or plainly    nc ${HOST} ${
        ports[0]
      }, then {"type":"login","username":"Dana"} and {"type":"msg","text":"Hello everyone!"}`,
      `  or a browser  new WebSocket("ws://${servers[0]}/ws")`,
      `  the log       ${TASK} client log ${log} -f`,
      `  or plainly    tail -f ${log} | jq .`,
      `  topology      ${TASK} client topology ring -c ${servers[0]}`,
      ...nodes.map((node, index) =>
        `  ${index === 0 ? "admin pages" : "           "}   http://${
          addresses[size + index]
        }/ ${node.name}`
      ),
    ],
  };
}

import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  type ChatSettings,
  parseChatFlags,
} from "../../../nodes/chat/flags.ts";
import { DEFAULT_TIMING } from "../../../nodes/chat/replica/contract.ts";
import { FlagsExit } from "../../../nodes/host/flags.ts";

/** As the seed has it, with the comment that stands there. */
const SEED_ENV = `\
# Server IP addresses
SERVER1_IP=127.0.0.1  # For local testing
SERVER2_IP=127.0.0.1
SERVER3_IP=127.0.0.1

REPLICA_PORT1=8081
REPLICA_PORT2=8082
REPLICA_PORT3=8083

CLIENT_PORT1=8091
CLIENT_PORT2=8092
CLIENT_PORT3=8093

DATA_DIR=./data
`;
const WITNESSES = `\
WITNESS1_IP=10.0.0.4
WITNESS_PORT1=8084
WITNESS2_IP=10.0.0.5
WITNESS_PORT2=8085
`;

/** A server that is told to look for nobody. */
const ALONE: ChatSettings = {
  kind: "server",
  id: "server-1",
  isNamed: true,
  isDataFolder: false,
  discover: undefined,
  mayMoveReplicaPort: false,
  mayMoveClientPort: false,
  leavesOnExit: false,
  forgetAfterMs: undefined,
  listenReplica: { host: "127.0.0.1", port: 8081 },
  listenClients: { host: "0.0.0.0", port: 8091 },
  clientsFrom: "private",
  group: [{
    id: "server-1",
    kind: "server",
    address: { host: "127.0.0.1", port: 8081 },
  }],
  data: "./data/server-1",
  priority: 0,
  isSticky: false,
  passwordCost: 15,
  segmentBytes: 16 * 1024 * 1024,
  scrubBytes: 1024 * 1024,
  timing: DEFAULT_TIMING,
  cluster: "skein",
  key: undefined,
  admin: undefined,
  logLevel: "info",
  exitWithParent: false,
  notices: [
    'No group is configured: this server is one of its own, and nothing is copied elsewhere; "--server" or SERVER1_IP and so on make a group',
    "1 voter: survives no loss; add a server and a witness to survive 1",
  ],
  warnings: [],
};

interface Surroundings {
  readonly env?: Record<string, string>;
  /** What stands in `.env`. */
  readonly file?: string;
}

function parse(line: string, around: Surroundings = {}): ChatSettings {
  const args = line === "" ? [] : line.split(" ");
  const env = new Map(Object.entries(around.env ?? {}));
  if (around.file === undefined) {
    return parseChatFlags(args, env, "/nonexistent/.env");
  }
  const folder = Deno.makeTempDirSync({ prefix: "skein-flags-" });
  try {
    Deno.writeTextFileSync(`${folder}/.env`, around.file);
    return parseChatFlags(args, env, `${folder}/.env`);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

/** What is said, without the program's name, the file's folder and the hint. */
function refusal(line: string, around: Surroundings = {}): string {
  const { code, stdout, stderr } = assertThrows(
    () => parse(line, around),
    FlagsExit,
  );
  assertEquals([code, stdout], [2, ""]);
  return stderr.replace(/^skein-chat: /, "")
    .replaceAll(/"[^"]*skein-flags[^"]*\/\.env"/g, '".env"')
    .replace(/(?:\.|(?<=\?)) Try "skein-chat --help"\n$/, "");
}

Deno.test("chat flags: told to look for nobody it is a server of its own, and says so", () => {
  assertEquals(parse("--discover static"), ALONE);
});

/** A server that is told nothing, and looks for its group. */
const LOOKING: ChatSettings = {
  ...ALONE,
  id: "",
  isNamed: false,
  isDataFolder: true,
  data: "./data",
  discover: { kind: "udp", group: "239.255.83.75", port: 8090 },
  listenReplica: { host: "0.0.0.0", port: 8081 },
  mayMoveReplicaPort: true,
  mayMoveClientPort: true,
  group: [],
  notices: [],
};

Deno.test("chat flags: nothing said looks for a group", () => {
  assertEquals(parse(""), LOOKING);
  const named = { id: "a", isNamed: true, isDataFolder: false };
  for (
    const [line, env, changes] of [
      ["--discover udp", {}, {}],
      ["--data /d", {}, { data: "/d", isDataFolder: false }],
      ["", { DATA_DIR: "/d/" }, { data: "/d" }],
      ["--id a", {}, { ...named, data: "./data/a" }],
      ["--id a --data /d", {}, { ...named, data: "/d" }],
      ["-l 9000", {}, {
        listenClients: { host: "0.0.0.0", port: 9000 },
        mayMoveClientPort: false,
      }],
      ["--listen-replica 10.0.0.1:9001", {}, {
        listenReplica: { host: "10.0.0.1", port: 9001 },
        mayMoveReplicaPort: false,
      }],
      ["--leave-on-exit", {}, { leavesOnExit: true }],
      ["", { SKEIN_LEAVE_ON_EXIT: "1" }, { leavesOnExit: true }],
      ["--forget-after 10m", {}, { forgetAfterMs: 600_000 }],
      ["", { SKEIN_FORGET_AFTER: "1h" }, { forgetAfterMs: 3_600_000 }],
      ["", { SKEIN_DISCOVER: "dns:chat.lab" }, {
        discover: { kind: "dns", name: "chat.lab", port: 8081 },
      }],
    ] as const
  ) assertEquals(parse(line, { env }), { ...LOOKING, ...changes }, line);
});

Deno.test("chat flags: a group that is named is not looked for", () => {
  const named = "--server a=10.0.0.1:8081";
  assertEquals(parse(`${named} --discover static`).discover, undefined);
  assertEquals(
    refusal(`${named} --discover udp`),
    '"--discover" looks for the group that "--server" names already: leave one of the two out',
  );
  assertEquals(
    refusal("--discover dns:x", { file: SEED_ENV }),
    '"--discover" looks for the group that SERVER1_IP and so on names already: leave one of the two out',
  );
});

Deno.test("chat flags: each flag and each variable sets its value", () => {
  const key = new TextEncoder().encode("0123456789abcdef");
  const at = (host: string, port: number) => ({ host, port });
  for (
    const [line, env, changes] of [
      ["-l 9000", {}, { listenClients: at("0.0.0.0", 9000) }],
      ["", { SKEIN_LISTEN: "h:0" }, { listenClients: at("h", 0) }],
      ["--data /d", {}, { data: "/d" }],
      ["", { SKEIN_DATA: "/d" }, { data: "/d" }],
      ["", { DATA_DIR: "/d/" }, { data: "/d/server-1" }],
      ["", { DATA_DIR: "/" }, { data: "//server-1" }],
      ["--data /d", { DATA_DIR: "/e" }, { data: "/d" }],
      ["--clients loopback", {}, { clientsFrom: "loopback" }],
      ["", { SKEIN_CLIENTS: "loopback" }, { clientsFrom: "loopback" }],
      ["--priority 3", {}, { priority: 3 }],
      ["", { SKEIN_PRIORITY: "3" }, { priority: 3 }],
      ["--sticky", {}, { isSticky: true }],
      ["", { SKEIN_STICKY: "1" }, { isSticky: true }],
      ["--password-cost 10", {}, { passwordCost: 10 }],
      ["", { SKEIN_PASSWORD_COST: "11" }, { passwordCost: 11 }],
      ["--segment 1MiB", {}, { segmentBytes: 1_048_576 }],
      ["", { SKEIN_SEGMENT: "64KiB" }, { segmentBytes: 65_536 }],
      ["--scrub 0", {}, { scrubBytes: 0 }],
      ["", { SKEIN_SCRUB: "2MiB" }, { scrubBytes: 2_097_152 }],
      ["--cluster c", {}, { cluster: "c" }],
      ["--admin 9090", {}, { admin: at("127.0.0.1", 9090) }],
      ["--log-level debug", {}, { logLevel: "debug" }],
      ["--exit-with-parent", {}, { exitWithParent: true }],
      ["", { SKEIN_KEY: "0123456789abcdef" }, { key }],
      ["--heartbeat 50ms", {}, {
        timing: { ...DEFAULT_TIMING, heartbeatMs: 50 },
      }],
      ["--suspect-after 2s --election 1s --sync-stall 10s", {}, {
        timing: {
          ...DEFAULT_TIMING,
          ...{ suspectAfterMs: 2_000, electionMs: 1_000 },
          syncStallMs: 10_000,
        },
      }],
      ["", { SKEIN_HEARTBEAT: "10ms", SKEIN_SUSPECT_AFTER: "60ms" }, {
        timing: { ...DEFAULT_TIMING, heartbeatMs: 10, suspectAfterMs: 60 },
      }],
    ] as const
  ) {
    const alone = line === "" ? "" : `${line} `;
    const settings = parse(`${alone}--discover static`, { env });
    assertEquals(settings, { ...ALONE, ...changes }, line);
  }
});

Deno.test("chat flags: the seed's .env and a number make a server of a group", () => {
  const local = (port: number) => ({ host: "127.0.0.1", port });
  const settings = parse("--server-number 2", { file: SEED_ENV });
  assertEquals(settings, {
    ...ALONE,
    id: "server-2",
    listenReplica: local(8082),
    listenClients: local(8092),
    group: [1, 2, 3].map((n) => ({
      ...{ id: `server-${n}`, kind: "server" as const },
      ...{ address: local(8080 + n), clients: local(8090 + n) },
    })),
    data: "./data/server-2",
    notices: ["3 voters: survives 1 loss; add 2 witnesses to survive 2"],
  });
  const env = { SERVER_NUMBER: "2" };
  assertEquals(parse("", { file: SEED_ENV, env }), settings);
  assertEquals(parse("--id server-2", { file: SEED_ENV }), settings);
  // The environment counts before the file, name by name.
  const moved = parse("--server-number 2", {
    file: SEED_ENV,
    env: { REPLICA_PORT2: "9082", DATA_DIR: "/var/skein" },
  });
  assertEquals(moved.listenReplica, local(9082));
  assertEquals(moved.data, "/var/skein/server-2");
  assertEquals(moved.group[0], settings.group[0]);
});

Deno.test("chat flags: servers on machines of their own, with witnesses", () => {
  const file = SEED_ENV.replaceAll(/127\.0\.0\.1/g, "10.0.0.9")
    .replaceAll("IP=10.0.0.9", "IP=lab-1.example") + WITNESSES;
  const settings = parse("--server-number 1", { file });
  assertEquals(settings.listenReplica, { host: "0.0.0.0", port: 8081 });
  assertEquals(settings.listenClients, { host: "0.0.0.0", port: 8091 });
  assertEquals(settings.group.map(({ id }) => id), [
    ...["server-1", "server-2", "server-3", "witness-1", "witness-2"],
  ]);
  assertEquals(settings.group[4].address, { host: "10.0.0.5", port: 8085 });
  assertEquals(settings.notices, [
    "5 voters (3 servers, 2 witnesses): survives any 2",
  ]);
  assertEquals(settings.warnings, []);
  const v6 = parse("", {
    env: {
      ...{ SERVER1_IP: "fd00::1", REPLICA_PORT1: "1", CLIENT_PORT1: "2" },
    },
  });
  assertEquals(v6.listenReplica, { host: "::", port: 1 });
});

Deno.test("chat flags: a group by flags counts before one in .env", () => {
  const settings = parse(
    "--id b --server a=h1:1 --server b=h2:2,c=[fd00::3]:3 --witness w=h4:4",
    { file: SEED_ENV, env: { SERVER_NUMBER: "3" } },
  );
  assertEquals(settings.id, "b");
  assertEquals(
    settings.group.map(({ id, kind, address }) =>
      `${kind} ${id} ${address.host} ${address.port}`
    ),
    [
      ...["server a h1 1", "server b h2 2", "server c fd00::3 3"],
      "witness w h4 4",
    ],
  );
  assertEquals(settings.listenReplica, { host: "0.0.0.0", port: 2 });
  assertEquals(settings.listenClients, { host: "0.0.0.0", port: 8091 });
  assertEquals(settings.data, "./data/b");
  // The only one: which it is need not be said.
  assertEquals(parse("--server x=127.0.0.1:7").id, "x");
});

Deno.test("chat flags: what is missing or contradicts is named", () => {
  const file = (changes: Record<string, string>) => {
    let text = SEED_ENV;
    for (const [name, value] of Object.entries(changes)) {
      text = text.replace(new RegExp(`^${name}=.*\n`, "m"), value);
    }
    return { file: text };
  };
  for (
    const [line, around, reason] of [
      [
        "--server-number 2",
        {},
        '"--server-number" is 2, but there is no SERVER1_IP in the environment or in "/nonexistent/.env"',
      ],
      [
        "",
        file({}),
        'The group has 3 servers: say which is this one, "--server-number" 1 to 3, or SERVER_NUMBER',
      ],
      [
        "--server-number 2",
        file({ REPLICA_PORT2: "" }),
        'SERVER2_IP in ".env" has no REPLICA_PORT2 beside it',
      ],
      [
        "--server-number 1",
        file({ CLIENT_PORT2: "" }),
        'SERVER2_IP in ".env" has no CLIENT_PORT2 beside it',
      ],
      [
        "--server-number 1",
        file({ SERVER3_IP: "" }),
        'REPLICA_PORT3 in ".env" has no SERVER3_IP beside it',
      ],
      [
        "--server-number 1",
        file({ SERVER2_IP: "", REPLICA_PORT2: "", CLIENT_PORT2: "" }),
        'SERVER3_IP in ".env" leaves a hole in the numbering: there is no SERVER2_IP',
      ],
      [
        "--server-number 4",
        file({}),
        '"--server-number" is 4, but the last is SERVER3_IP',
      ],
      [
        "--server-number 1",
        file({ REPLICA_PORT2: "REPLICA_PORT2=8081\n" }),
        "server-1 and server-2 have one address, 127.0.0.1:8081",
      ],
      [
        "--server-number 1",
        file({ CLIENT_PORT2: "CLIENT_PORT2=8081\n" }),
        "server-1 and the clients of server-2 have one address, 127.0.0.1:8081",
      ],
      [
        "--server-number 1",
        file({ REPLICA_PORT2: "REPLICA_PORT2=80820\n" }),
        'REPLICA_PORT2 in ".env": "80820" is not a port, wanted 1 to 65535',
      ],
      [
        "--server-number 1",
        file({ SERVER2_IP: "SERVER2_IP=127.0.0.1:8082\n" }),
        'SERVER2_IP in ".env": "127.0.0.1:8082" is neither an IP address nor a host name',
      ],
      [
        "--server-number 1",
        file({ SERVER2_IP: "SERVER2_IP=0.0.0.0\n" }),
        "Nobody can dial 0.0.0.0:8082, the address of server-2: wanted the one that the others reach it at",
      ],
      [
        "--server-number 1 --id server-2",
        file({}),
        '"--id" is "server-2", but "--server-number" 1 is "server-1"',
      ],
      [
        "--id a",
        file({}),
        '"--id": "a" is not in the group of SERVER1_IP, wanted server-1 to server-3',
      ],
      [
        "",
        { env: { WITNESS1_IP: "10.0.0.1", WITNESS_PORT1: "8084" } },
        "WITNESS1_IP names a witness, but there is no SERVER1_IP",
      ],
      [
        "--server a=h:1 --server b=h:2",
        {},
        '"--id" is missing: which server is this? Wanted one of "a", "b"',
      ],
      [
        "--id c --server a=h:1 --server b=h:2",
        {},
        '"--id": "c" is in no "--server", wanted one of "a", "b"',
      ],
      [
        "--id a --server a=h:1 --server a=h:2",
        {},
        'Two servers have the id "a"',
      ],
      [
        "--id a --server a=h:1 --witness a=h:2",
        {},
        'A server and a witness both have the id "a"',
      ],
      [
        "--id a --server a=h:1 --server b=H:1",
        {},
        "a and b have one address, H:1",
      ],
      [
        "--id a --witness w=h:1",
        {},
        '"--witness" names no server: say "--server ID=HOST:PORT" for each',
      ],
      [
        "--server-number 1 --server a=h:1",
        {},
        '"--server-number" is for a group in SERVER1_IP and so on; "--server" needs "--id"',
      ],
      [
        "--server h:1",
        {},
        '"--server": "h:1" is no node, wanted one such as "server-1=192.168.1.1:8081"',
      ],
      [
        "--server a=h:0",
        {},
        '"--server": Port 0 in "a=h:0" cannot be dialled, wanted 1 to 65535',
      ],
      [
        "--suspect-after 40ms",
        {},
        '"--suspect-after" is 40 ms, wanted at least twice "--heartbeat", which is 25 ms',
      ],
      [
        "--listen 8081",
        {},
        '"--listen" and "--listen-replica" are one port: 0.0.0.0:8081 and 0.0.0.0:8081',
      ],
      [
        "-l 127.0.0.1:8091 --admin 8091",
        {},
        '"--listen" and "--admin" are one port: 127.0.0.1:8091 and 127.0.0.1:8091',
      ],
      [
        "--id ..",
        {},
        '"--id": ".." cannot name a directory: say "--data" too',
      ],
      [
        "--clients everybody",
        {},
        '"--clients": "everybody" is none of "loopback", "private", "any"',
      ],
    ] as const
  ) assertEquals(refusal(line, around), reason, line);
});

Deno.test("chat flags: more nodes than a group may have", () => {
  const env: Record<string, string> = {};
  for (let n = 1; n <= 33; n += 1) {
    env[`SERVER${n}_IP`] = `10.0.0.${n}`;
    env[`REPLICA_PORT${n}`] = "8081";
    env[`CLIENT_PORT${n}`] = "8091";
  }
  assertEquals(
    refusal("--server-number 1", { env }),
    "Found 33 servers and witnesses, limit is 32",
  );
});

Deno.test("chat flags: what may be meant is only warned of", () => {
  const warnings = (line: string) => parse(line).warnings;
  assertEquals(
    warnings("--id a --server a=h:1 --server b=h:2"),
    [
      "2 voters are an even number: with one witness more the group would survive 1 loss",
    ],
  );
  assertEquals(
    warnings("--id a --server a=127.0.0.1:1,b=h:2 --witness w=h:3"),
    [
      "a has the address 127.0.0.1:1, which is another machine for each that dials it; b has h:2",
    ],
  );
  assertEquals(warnings("--clients any"), [
    "People from any address may come in, and what they send is not encrypted, passwords included",
  ]);
});

Deno.test("chat flags: help shows every flag, and fits a terminal", () => {
  const { code, stdout } = assertThrows(() => parse("--help"), FlagsExit);
  assertEquals(code, 0);
  for (
    const flag of [
      ...["--server-number N", "-l, --listen [HOST:]PORT", "--id NAME"],
      ...["--server ID=HOST:PORT", "--witness ID=HOST:PORT", "--data DIR"],
      ...["--listen-replica [HOST:]PORT", "--priority N", "--sticky"],
      ...["--heartbeat TIME", "--suspect-after TIME", "--election TIME"],
      ...["--sync-stall TIME", "--key-file FILE", "--admin [HOST:]PORT"],
    ]
  ) assert(stdout.includes(`\n  ${flag} `), flag);
  const wide = stdout.split("\n").filter((line) => line.length > 80);
  assertEquals(wide, []);
});

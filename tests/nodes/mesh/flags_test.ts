import {
  assert,
  assertEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { FlagsExit } from "../../../nodes/host/flags.ts";
import { DEFAULT_RECENT } from "../../../nodes/mesh/contract.ts";
import {
  defaultMeshId,
  type MeshSettings,
  parseMeshFlags,
} from "../../../nodes/mesh/flags.ts";
import { isName } from "../../../protocol/ids.ts";

const NOTHING_SAID: MeshSettings = {
  id: undefined,
  listen: { host: "0.0.0.0", port: 5001 },
  mayMovePort: true,
  logFile: "shared/logs/chat.log",
  logFileBytesMax: 64 * 1024 * 1024,
  logFilesMax: 8,
  peers: [],
  discover: { kind: "udp", group: "239.255.83.75", port: 8090 },
  isDiscoverSaid: false,
  topology: "mesh",
  peerTimeoutMs: 1_500,
  recent: DEFAULT_RECENT,
  advertise: undefined,
  allowOrigins: [],
  clientsFrom: "private",
  cluster: "skein",
  key: undefined,
  admin: undefined,
  logLevel: "info",
  exitWithParent: false,
  warnings: [],
};

const B = { id: "B", address: { host: "127.0.0.1", port: 5002 } };
const C = { id: "C", address: { host: "127.0.0.1", port: 5003 } };

function parse(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): MeshSettings {
  return parseMeshFlags(args, new Map(Object.entries(env)), "/nonexistent");
}

function refusal(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): string {
  const error = assertThrows(() => parse(args, env), FlagsExit);
  assertEquals(error.code, 2, error.stderr);
  assert(/^skein-mesh: [^\n]+\n$/.test(error.stderr), error.stderr);
  return error.stderr;
}

/** A folder with a file that lists servers A, B and C. */
function withPeersFile(use: (path: string) => void): void {
  const folder = Deno.makeTempDirSync();
  try {
    const path = `${folder}/peersA.json`;
    Deno.writeTextFileSync(
      path,
      '{"A":["127.0.0.1",5001],"B":["127.0.0.1",5002],"C":["127.0.0.1",5003]}',
    );
    use(path);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("mesh flags: nothing said looks for others", () => {
  assertEquals(parse([]), NOTHING_SAID);
});

Deno.test("mesh flags: the seed's words, as many as one likes", () => {
  withPeersFile((path) => {
    const A = { id: "A", address: { host: "127.0.0.1", port: 5001 } };
    const words = ["A", "0.0.0.0", "5004", "logs/x.log", path];
    const whole = { ...NOTHING_SAID, id: "A" };
    assertEquals(parse(words.slice(0, 1)), whole);
    const listen = { host: "0.0.0.0", port: 5004 };
    const moved = { ...whole, listen, mayMovePort: false };
    assertEquals(parse(words.slice(0, 3)), moved);
    const logged = { ...moved, logFile: "logs/x.log" };
    assertEquals(parse(words.slice(0, 4)), logged);
    const all = { ...logged, discover: undefined, peers: [A, B, C] };
    assertEquals(parse(words), all);
    assertEquals(parse([...words, "--topology", "ring"]), {
      ...all,
      topology: "ring",
    });
    // The same by flags.
    assertEquals(
      parse([
        ...["--id", "A", "-l", "5004", "--log", "logs/x.log"],
        ...["--peers", path],
      ]),
      all,
    );
  });
});

Deno.test("mesh flags: wrong words are named", () => {
  const cases: readonly (readonly [readonly string[], string])[] = [
    [["A B"], 'ID "A B" is not a name'],
    [["A", "0.0.0.0", "port"], 'PORT "port" is not a port, wanted 0 to 65535'],
    [["A", "0.0.0.0", "70000"], 'PORT "70000" is not a port'],
    [["A", "a b", "5001"], 'HOST "a b" is not a host'],
    [["A", "0.0.0.0"], 'PORT is missing behind HOST "0.0.0.0"'],
    [
      ["A", "0.0.0.0", "5001", "x.log", "/nonexistent.json"],
      '"--peers": Cannot read "/nonexistent.json": there is no such file',
    ],
    [
      ["A", "0.0.0.0", "5001", "x.log", "p.json", "more"],
      'Unexpected "more" behind ID HOST PORT LOG PEERS',
    ],
    [["A", "--id", "B"], '"--id" is given twice'],
    [["--id", "A", "0.0.0.0"], 'Unexpected "0.0.0.0": it follows no flag'],
  ];
  for (const [args, reason] of cases) {
    assertStringIncludes(refusal(args), reason);
  }
});

Deno.test("mesh flags: each flag and each variable sets its value", () => {
  const cases: readonly (readonly [
    flag: string,
    variable: string | undefined,
    text: string,
    value: Partial<MeshSettings>,
  ])[] = [
    ["--id", "SKEIN_ID", "x", { id: "x" }],
    ["--listen", "SKEIN_LISTEN", "127.0.0.1:0", {
      listen: { host: "127.0.0.1", port: 0 },
      mayMovePort: false,
    }],
    ["--log", "SKEIN_LOG", "x.log", { logFile: "x.log" }],
    ["--log-size", "SKEIN_LOG_SIZE", "1MiB", { logFileBytesMax: 1_048_576 }],
    ["--log-files", "SKEIN_LOG_FILES", "3", { logFilesMax: 3 }],
    ["--peer", "SKEIN_PEERS", "B=127.0.0.1:5002,C=127.0.0.1:5003", {
      peers: [B, C],
      discover: undefined,
    }],
    ["--discover", "SKEIN_DISCOVER", "static", {
      discover: undefined,
      isDiscoverSaid: true,
    }],
    ["--discover", "SKEIN_DISCOVER", "dns:mesh.lab", {
      discover: { kind: "dns", name: "mesh.lab", port: 5001 },
      isDiscoverSaid: true,
    }],
    ["--topology", "SKEIN_TOPOLOGY", "star", { topology: "star" }],
    ["--peer-timeout", "SKEIN_PEER_TIMEOUT", "3s", { peerTimeoutMs: 3_000 }],
    ["--keep", "SKEIN_KEEP", "5", {
      recent: { ...DEFAULT_RECENT, eventsMax: 5 },
    }],
    // No fewer bytes for each than by default.
    ["--keep", "SKEIN_KEEP", "50000", {
      recent: {
        ...DEFAULT_RECENT,
        eventsMax: 50_000,
        bytesMax: 5 * DEFAULT_RECENT.bytesMax,
      },
    }],
    ["--keep-for", "SKEIN_KEEP_FOR", "1m", {
      recent: { ...DEFAULT_RECENT, ageMsMax: 60_000 },
    }],
    ["--advertise", "SKEIN_ADVERTISE", "a.lab:5001", {
      advertise: { host: "a.lab", port: 5001 },
    }],
    ["--allow-origin", "SKEIN_ALLOW_ORIGINS", "https://a.lab,http://b:8000", {
      allowOrigins: ["https://a.lab", "http://b:8000"],
    }],
    ["--clients", "SKEIN_CLIENTS", "loopback", { clientsFrom: "loopback" }],
    ["--cluster", "SKEIN_CLUSTER", "lab", { cluster: "lab" }],
    ["--admin", "SKEIN_ADMIN", "9090", {
      admin: { host: "127.0.0.1", port: 9090 },
    }],
    ["--log-level", "SKEIN_LOG_LEVEL", "debug", { logLevel: "debug" }],
  ];
  for (const [flag, variable, text, value] of cases) {
    assertEquals(parse([flag, text]), { ...NOTHING_SAID, ...value }, flag);
    if (variable === undefined) continue;
    const env = { [variable]: text };
    assertEquals(parse([], env), { ...NOTHING_SAID, ...value }, variable);
  }
  assertEquals(parse(["--exit-with-parent"]).exitWithParent, true);
});

Deno.test("mesh flags: servers come from flags and file, each at one address", () => {
  withPeersFile((path) => {
    const both = parse(["--peers", path, "--peer", "D=h:1"]);
    assertEquals(both.peers.map(({ id }) => id), ["D", "A", "B", "C"]);
    const same = parse(["--peers", path, "--peer", "B=127.0.0.1:5002"]);
    assertEquals(same.peers.map(({ id }) => id), ["B", "A", "C"]);
    assertStringIncludes(
      refusal(["--peers", path, "--peer", "B=127.0.0.1:5009"]),
      'Server "B" is at 127.0.0.1:5009 and at 127.0.0.1:5002',
    );
    // Whoever names servers may look for more.
    assertEquals(
      parse(["--peers", path, "--discover", "udp"]).discover?.kind,
      "udp",
    );
  });
});

Deno.test("mesh flags: wrong values are refused", () => {
  const cases: readonly (readonly [readonly string[], string])[] = [
    [["--peer", "B"], '"B" is no node, wanted one such as "B=127.0.0.1:5002"'],
    [["--peer", "B=h:0"], "cannot be dialled"],
    [["--topology", "tree"], '"tree" is none of "mesh"'],
    [["--allow-origin", "chat.example"], "is no origin"],
    // Any page of anybody: nothing that we compare with has this for all.
    [["--allow-origin", "*"], "is no origin"],
    [["--allow-origin", "https://a/b"], "is no origin"],
    [["--discover", "dhcp"], "is no way to look for others"],
    [["--peer-timeout", "10ms"], "is out of range"],
    [["--keep", "0"], "is out of range"],
    [["--log-size", "1KiB"], "is out of range"],
    [["--advertise", "5001"], "is not an address, wanted HOST:PORT"],
    [["--clients", "none"], '"none" is none of'],
  ];
  for (const [args, reason] of cases) {
    assertStringIncludes(refusal(args), reason);
  }
  const many = Array.from({ length: 65 }, (_, at) => `s${at}=h:${at + 1}`);
  assertStringIncludes(
    refusal(["--peer", many.join(",")]),
    "Found 65 other servers, limit is 64",
  );
});

Deno.test("mesh flags: open doors are warned of", () => {
  assertEquals(parse(["--clients", "any"]).warnings.length, 2);
  const env = { SKEIN_KEY: "0123456789abcdef" };
  assertEquals(parse(["--clients", "any"], env).warnings.length, 1);
});

Deno.test("mesh flags: help shows every flag, and fits a terminal", () => {
  const help = assertThrows(() => parse(["--help"]), FlagsExit);
  assertEquals([help.code, help.stderr], [0, ""]);
  for (const line of help.stdout.split("\n")) {
    assert(line.length <= 80, line);
  }
  for (const word of ["--peers", "--topology", "--advertise", "--keep-for"]) {
    assertStringIncludes(help.stdout, word);
  }
});

Deno.test("mesh flags: a server without a name is called by its host and port", () => {
  assertEquals(defaultMeshId("lab1", 5001), "lab1-5001");
  const odd = defaultMeshId(`ä b.${"x".repeat(80)}`, 65_535);
  assert(isName(odd), odd);
  assert(isName(defaultMeshId("", 1)));
});

import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  clusterKeyFlags,
  readClusterKey,
} from "../../../nodes/host/cluster_key.ts";
import { FlagsExit, parseFlags } from "../../../nodes/host/flags.ts";

const KEY = "0123456789abcdef";

interface Start {
  readonly args?: readonly string[];
  readonly env?: Record<string, string>;
  /** Content of `.env`. */
  readonly file?: string;
  readonly fileMode?: number;
}

/** Runs in a directory of its own; `key` writes a key file and names it. */
function inDirectory<T>(
  run: (
    tools: {
      directory: string;
      key: (content: string | Uint8Array, mode?: number) => string;
      read: (start: Start) => ReturnType<typeof readClusterKey>;
    },
  ) => T,
): T {
  const directory = Deno.makeTempDirSync();
  const envFile = `${directory}/.env`;
  try {
    return run({
      directory,
      key: (content, mode = 0o600) => {
        const file = `${directory}/key`;
        Deno.writeFileSync(
          file,
          typeof content === "string"
            ? new TextEncoder().encode(content)
            : content,
        );
        Deno.chmodSync(file, mode);
        return file;
      },
      read: ({ args = [], env = {}, file, fileMode = 0o600 }) => {
        if (file !== undefined) {
          Deno.writeTextFileSync(envFile, file);
          Deno.chmodSync(envFile, fileMode);
        }
        return readClusterKey(parseFlags(clusterKeyFlags, {
          program: "skein-test",
          about: "A test.",
          examples: [],
          args,
          env: new Map(Object.entries(env)),
          envFile,
        }));
      },
    });
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

function textOf(found: ReturnType<typeof readClusterKey>): string | undefined {
  return found.key && new TextDecoder().decode(found.key);
}

Deno.test("cluster key: none is none", () => {
  inDirectory(({ read }) => {
    assertEquals(read({}), { key: undefined, warnings: [] });
  });
});

Deno.test("cluster key: the first line of the file, or the variable", () => {
  inDirectory(({ key, read }) => {
    for (
      const content of [
        KEY,
        `${KEY}\n`,
        `${KEY}\r\n`,
        ` ${KEY}\t\n`,
        `${KEY}\nsecond line\n`,
      ]
    ) {
      const args = ["--key-file", key(content)];
      assertEquals(textOf(read({ args })), KEY);
    }
    assertEquals(textOf(read({ env: { SKEIN_KEY_FILE: key(KEY) } })), KEY);
    assertEquals(textOf(read({ env: { SKEIN_KEY: KEY } })), KEY);
    const long = "k".repeat(1024);
    assertEquals(textOf(read({ env: { SKEIN_KEY: long } })), long);
  });
});

Deno.test("cluster key: the nearest of file and variable counts", () => {
  inDirectory(({ key, read }) => {
    const file = key(KEY);
    const other = "another key, which is long enough";
    const args = ["--key-file", file];
    assertEquals(textOf(read({ args, env: { SKEIN_KEY: other } })), KEY);
    const inFile = `SKEIN_KEY_FILE='${file}'\n`;
    assertEquals(
      textOf(read({ env: { SKEIN_KEY: other }, file: inFile })),
      other,
    );
    const env = { SKEIN_KEY: other, SKEIN_KEY_FILE: file };
    const { code, stderr } = assertThrows(() => read({ env }), FlagsExit);
    assertEquals(code, 2);
    assertEquals(
      stderr,
      'skein-test: SKEIN_KEY_FILE and SKEIN_KEY both set the cluster key. Try "skein-test --help"\n',
    );
  });
});

Deno.test("cluster key: one that cannot be used is refused, and not shown", () => {
  inDirectory(({ directory, key, read }) => {
    const binary = Uint8Array.from({ length: 32 }, (_, index) => 200 + index);
    const withFile = (content: string | Uint8Array): Start => ({
      args: ["--key-file", key(content)],
    });
    for (
      const [start, reason] of [
        [
          () => ({ env: { SKEIN_KEY: "hunter2" } }),
          "in SKEIN_KEY: it has 7 bytes, wanted 16 to 1024",
        ],
        [() => ({ env: { SKEIN_KEY: "k".repeat(1025) } }), "it has 1025 bytes"],
        [
          () => ({ env: { SKEIN_KEY: `hunter2${" ".repeat(20)}` } }),
          "it has 7 bytes",
        ],
        [
          () => withFile("hunter2\nhunter2 again and again\n"),
          `in "${directory}/key": it has 7 bytes`,
        ],
        [() => withFile(""), "it has 0 bytes"],
        [() => withFile(binary), "it is not text"],
        [() => withFile("k".repeat(65_537)), "it is larger than 65536 bytes"],
        [
          () => ({ args: ["--key-file", directory] }),
          `Cannot read "${directory}": it is a directory`,
        ],
        [
          () => ({ args: ["--key-file", "/no/such"] }),
          'Cannot read "/no/such": there is no such file',
        ],
      ] as const
    ) {
      const { code, stderr } = assertThrows(() => read(start()), FlagsExit);
      assertEquals(code, 2);
      assert(stderr.includes(reason), stderr);
      assertEquals(stderr.split("\n").length, 2);
      assert(!stderr.includes("hunter2"), stderr);
    }
  });
});

Deno.test({
  name: "cluster key: a file that every user can read is a warning",
  ignore: Deno.build.os === "windows",
  fn: () => {
    inDirectory(({ directory, key, read }) => {
      for (
        const [mode, count] of [[0o600, 0], [0o640, 0], [0o644, 1]] as const
      ) {
        const { warnings } = read({ args: ["--key-file", key(KEY, mode)] });
        assertEquals(warnings.length, count, mode.toString(8));
      }
      assertEquals(
        read({ file: `SKEIN_KEY=${KEY}`, fileMode: 0o644 }).warnings,
        [
          `Every user of this machine can read the cluster key in "${directory}/.env"`,
        ],
      );
      assertEquals(
        read({ file: `SKEIN_KEY=${KEY}`, fileMode: 0o600 }).warnings,
        [],
      );
    });
  },
});

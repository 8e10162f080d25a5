import { assertEquals, assertThrows } from "@std/assert";
import { readEnvironmentFile } from "../../../nodes/host/environment_file.ts";

const names = new Set(["SKEIN_A", "SKEIN_B"]);

/** Reads `content` as a `.env` file; the path is cut from errors. */
function read(content: string | Uint8Array): Record<string, string> {
  const directory = Deno.makeTempDirSync();
  const file = `${directory}/.env`;
  try {
    Deno.writeFileSync(
      file,
      typeof content === "string" ? new TextEncoder().encode(content) : content,
    );
    return Object.fromEntries(readEnvironmentFile(file, names));
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

Deno.test("environment file: our names are read, others are not looked at", () => {
  for (
    const [content, expected] of [
      ["", {}],
      ["\n# SKEIN_A=1\n  \n", {}],
      ["SKEIN_A=1", { SKEIN_A: "1" }],
      ["SKEIN_A=1\r\nSKEIN_B=2\r\n", { SKEIN_A: "1", SKEIN_B: "2" }],
      ["SKEIN_A=1\nSKEIN_A=2\n", { SKEIN_A: "2" }],
      [" export SKEIN_A = 1 # one\n", { SKEIN_A: "1" }],
      ["SKEIN_A='a # b'\n", { SKEIN_A: "a # b" }],
      ['SKEIN_A="a b" # c\n', { SKEIN_A: "a b" }],
      ["SKEIN_A=\n", { SKEIN_A: "" }],
      ["\uFEFFSKEIN_A=1", { SKEIN_A: "1" }],
      ["OTHER=1\nmy-name=2\nfoo.bar=3\nSKEIN_AA=4\n", {}],
      ['OTHER="several\nSKEIN_B=no\nlines"\nSKEIN_A=1\n', { SKEIN_A: "1" }],
      ["SKEIN_A=it's\nSKEIN_B=2", { SKEIN_A: "it's", SKEIN_B: "2" }],
    ] as const
  ) assertEquals(read(content), expected, content);
});

Deno.test("environment file: a line that is nothing is named", () => {
  for (
    const [content, reason] of [
      ["SKEIN_A\n", "line 1 is not NAME=value"],
      ["# ok\n\nset SKEIN_A=1\n", "line 3 is not NAME=value"],
      ["=1\n", "line 1 is not NAME=value"],
      ['SKEIN_A="b\nc\n', "the quote in line 1 has no end"],
      ["X=1\nOTHER='b\n", "the quote in line 2 has no end"],
    ]
  ) assertThrows(() => read(content), RangeError, reason, content);
});

Deno.test("environment file: what cannot be read is an error, none is empty", () => {
  assertThrows(
    () => read(Uint8Array.of(0x41, 0x3d, 0xff)),
    RangeError,
    "it is not UTF-8",
  );
  assertThrows(
    () => read("#".repeat(65_537)),
    RangeError,
    "it is larger than 65536 bytes",
  );
  const directory = Deno.makeTempDirSync();
  try {
    assertThrows(
      () => readEnvironmentFile(directory, names),
      RangeError,
      `Cannot read "${directory}": it is a directory`,
    );
    assertEquals(readEnvironmentFile(`${directory}/.env`, names).size, 0);
  } finally {
    Deno.removeSync(directory);
  }
});

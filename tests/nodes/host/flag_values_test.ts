import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  address,
  addressList,
  byteSize,
  choice,
  duration,
  type FlagValue,
  identifier,
  parseSwitch,
  path,
  wholeNumber,
} from "../../../nodes/host/flag_values.ts";

const listen = address({ defaultHost: "0.0.0.0", portMin: 0 });
const dial = address({ portMin: 1 });
const list = addressList();
const size = byteSize({ bytesMin: 1, bytesMax: 2 ** 40 });
const time = duration({ msMin: 0, msMax: 3_600_000 });
const count = wholeNumber({ min: 1, max: 64 });
const print = choice(["full", "none"]);
const name = identifier();
const file = path("file");

function accept<T>(value: FlagValue<T>, cases: readonly [string, T][]): void {
  for (const [text, expected] of cases) {
    assertEquals(value.parse(text), expected, text);
  }
}

function refuse<T>(
  value: FlagValue<T>,
  cases: readonly [text: string, reason: string][],
): void {
  for (const [text, reason] of cases) {
    assertThrows(() => value.parse(text), RangeError, reason, text);
  }
}

Deno.test("flag values: an address has a host, given or by default", () => {
  accept(listen, [
    ["3527", { host: "0.0.0.0", port: 3527 }],
    ["0", { host: "0.0.0.0", port: 0 }],
    ["127.0.0.1:65535", { host: "127.0.0.1", port: 65535 }],
    ["[::1]:80", { host: "::1", port: 80 }],
  ]);
  refuse(listen, [
    ["", '"" is not an address, wanted [HOST:]PORT'],
    ["x", "is not an address"],
    ["65536", "is above 65535"],
    ["::1:80", "is not an address"],
    ["a:b:1", "is not an address"],
    ["a :1", "is not an address"],
    ["-1", "is not an address"],
  ]);
  refuse(dial, [
    ["3527", "wanted HOST:PORT"],
    ["a:0", 'Port 0 in "a:0" cannot be dialled, wanted 1 to 65535'],
  ]);
});

Deno.test("flag values: a list has 1 to 8 addresses, each once", () => {
  const eight = Array.from({ length: 8 }, (_, index) => `h${index}:1`);
  accept(list, [
    ["a:1", [{ host: "a", port: 1 }]],
    ["a:1, [::1]:2", [{ host: "a", port: 1 }, { host: "::1", port: 2 }]],
    ["a:1,a:2", [{ host: "a", port: 1 }, { host: "a", port: 2 }]],
  ]);
  assertEquals(list.parse(eight.join(",")).length, 8);
  refuse(list, [
    ["", "is not an address"],
    ["a:1,", '"" is not an address'],
    [",a:1", '"" is not an address'],
    ["a:1,b", '"b" is not an address'],
    ["a:1,b:2,A:1", '"A:1" is there twice'],
    [[...eight, "i:1"].join(","), "Found 9 addresses, limit is 8"],
  ]);
});

Deno.test("flag values: a size has decimal and binary units", () => {
  accept(size, [
    ["1", 1],
    ["65536", 65536],
    ["10B", 10],
    ["64KiB", 65536],
    ["16MiB", 16 * 2 ** 20],
    ["16 MiB", 16 * 2 ** 20],
    ["2GiB", 2 ** 31],
    ["1kB", 1000],
    ["1KB", 1000],
    ["1MB", 1e6],
    ["1GB", 1e9],
  ]);
  refuse(size, [
    ["", '"" is not a size, wanted one such as "64KiB" or "16MiB"'],
    ["16M", "is not a size"],
    ["16mib", "is not a size"],
    ["1.5MiB", "is not a size"],
    ["-1", "is not a size"],
    ["1e3", "is not a size"],
    ["0", "is out of range, wanted 1B to 1024GiB"],
    ["2000GiB", "is out of range"],
    ["9999999999999999", "is not a size"],
  ]);
  for (const text of ["1B", "1023B", "1KiB", "1MiB", "1536KiB", "1GiB"]) {
    assertEquals(size.format(size.parse(text)), text);
  }
});

Deno.test("flag values: a time has a unit and whole milliseconds", () => {
  accept(time, [
    ["0", 0],
    ["0s", 0],
    ["500ms", 500],
    ["3s", 3000],
    ["1.5s", 1500],
    ["0.1s", 100],
    ["0.007s", 7],
    ["2m", 120_000],
    ["1h", 3_600_000],
    ["3 s", 3000],
  ]);
  refuse(time, [
    ["", '"" is not a time, wanted one such as "500ms", "3s" or "2m"'],
    ["3", "is not a time"],
    ["3sec", "is not a time"],
    ["3S", "is not a time"],
    ["-3s", "is not a time"],
    ["1e3s", "is not a time"],
    ["1.5ms", "is not in whole milliseconds"],
    ["1.2345s", "is not a time"],
    ["2h", '"2h" is out of range, wanted 0ms to 1h'],
  ]);
  for (const text of ["1ms", "1500ms", "3s", "90s", "2m", "1h"]) {
    assertEquals(time.format(time.parse(text)), text);
  }
});

Deno.test("flag values: numbers, words, names and paths", () => {
  accept(count, [["1", 1], ["64", 64], ["007", 7]]);
  refuse(count, [
    ["0", '"0" is out of range, wanted 1 to 64'],
    ["65", "is out of range"],
    ["", "is not a whole number"],
    ["1.0", "is not a whole number"],
    ["-1", '"-1" is out of range, wanted 1 to 64'],
  ]);
  accept(print, [["full", "full"], ["none", "none"]]);
  refuse(print, [
    ["Full", '"Full" is none of "full", "none"'],
    ["", '"" is none of'],
  ]);
  accept(name, [["a", "a"], ["N1._:-", "N1._:-"], [
    "x".repeat(64),
    "x".repeat(64),
  ]]);
  refuse(name, [
    ["", "is not a name"],
    ["a b", "is not a name"],
    ["ä", "is not a name"],
    ["a\n", "is not a name"],
    ["x".repeat(65), "is not a name"],
  ]);
  accept(file, [["a b", "a b"], ["-", "-"]]);
  refuse(file, [["", '"" is not a path'], ["a\0b", "is not a path"]]);
});

Deno.test("flag values: a switch in a variable is on or off", () => {
  for (const text of ["1", "true", "YES", "on"]) {
    assertEquals(parseSwitch(text), true);
  }
  for (const text of ["0", "false", "No", "off"]) {
    assertEquals(parseSwitch(text), false);
  }
  assertThrows(() => parseSwitch("maybe"), RangeError, 'neither "1" nor "0"');
});

Deno.test("flag values: no text makes a parser throw anything but RangeError", () => {
  const parsers: FlagValue<unknown>[] = [
    listen,
    dial,
    list,
    size,
    time,
    count,
    print,
    name,
    file,
  ];
  const alphabet = fc.constantFrom(...":[],.0123456789abhkmsBKMiGx- \0");
  const text = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.string({ unit: alphabet }),
  );
  fc.assert(
    fc.property(text, (text) => {
      for (const parser of parsers) {
        try {
          parser.parse(text);
        } catch (error) {
          if (!(error instanceof RangeError)) throw error;
        }
      }
    }),
    { numRuns: 500 },
  );
});

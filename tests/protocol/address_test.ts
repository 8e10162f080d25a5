import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  formatAddress,
  isLoopbackAddress,
  isPrivateAddress,
  parseAddress,
} from "../../protocol/address.ts";

Deno.test("address: a host and a port are read", () => {
  const cases: [string, string, number][] = [
    ["localhost:3525", "localhost", 3525],
    ["127.0.0.1:0", "127.0.0.1", 0],
    ["10.1.2.3:65535", "10.1.2.3", 65_535],
    ["chain-1.skein.default.svc:3525", "chain-1.skein.default.svc", 3525],
    ["[::1]:80", "::1", 80],
    ["[fe80::1%eth0]:80", "fe80::1%eth0", 80],
    ["a:00080", "a", 80],
  ];
  for (const [text, host, port] of cases) {
    assertEquals(parseAddress(text), { host, port }, text);
    assertEquals(parseAddress(text, "elsewhere"), { host, port }, text);
  }
  assertEquals(parseAddress("3525", "::"), { host: "::", port: 3525 });
});

Deno.test("address: what is none is refused, with what was found and wanted", () => {
  const wrong = [
    ...["", ":", ":1", "a", "a:", "a:b", "a:1:2", "::1:80", "[::1]", "[]:1"],
    ...["[a]b:1", "a b:1", "a:-1", "a:+1", "a:1.0", "a:1 ", " a:1", "a:1\n"],
    ...["a:123456", "http://a:1", "[a:1", "a]:1", "a:1/"],
  ];
  for (const text of wrong) {
    const words = `"${text}" is not an address, wanted`;
    assertThrows(() => parseAddress(text), RangeError, words);
    assertThrows(() => parseAddress(text, "x"), RangeError);
  }
  assertThrows(() => parseAddress("80"), RangeError, "wanted HOST:PORT");
  assertThrows(
    () => parseAddress("x", "0.0.0.0"),
    RangeError,
    "wanted [HOST:]PORT",
  );
  assertThrows(
    () => parseAddress("a:65536"),
    RangeError,
    'Port 65536 in "a:65536" is above 65535',
  );
});

Deno.test("address: a host has at most 253 characters", () => {
  const longest = "a".repeat(253);
  assertEquals(parseAddress(`${longest}:1`).host, longest);
  assertThrows(
    () => parseAddress(`${longest}a:1`),
    RangeError,
    "254 characters, limit is 253",
  );
});

Deno.test("address: what was written is read", () => {
  const address = fc.record({
    host: fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain()),
    port: fc.nat(65_535),
  });
  fc.assert(fc.property(address, (address) => {
    assertEquals(parseAddress(formatAddress(address)), address);
  }));
  assertEquals(formatAddress({ host: "::1", port: 80 }), "[::1]:80");
});

Deno.test("address: random text is an address, or a RangeError", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    try {
      const { host, port } = parseAddress(text, "x");
      assertEquals(host.length > 0 && port >= 0 && port <= 65_535, true);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
  }));
});

const LOOPBACK = [
  ...["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1"],
  "::FFFF:127.1.2.3",
];

const PRIVATE = [
  ...["10.0.0.0", "10.255.255.255", "192.168.0.1", "192.168.255.255"],
  ...["172.16.0.0", "172.31.255.255", "172.20.1.1"],
  ...["169.254.0.1", "169.254.255.255"],
  ...["::ffff:10.0.0.1", "::ffff:172.16.0.1", "::ffff:192.168.1.1"],
  ...["0:0:0:0:0:ffff:10.0.0.1", "::FFFF:169.254.1.1"],
  ...["fc00::1", "fd12:3456::1", "fdff::", "FD00::1"],
  ...["fe80::1", "fe80::1%eth0", "febf::1", "fe90::1%3", "FE80::1%en0"],
];

const PUBLIC = [
  ...["8.8.8.8", "1.1.1.1", "9.255.255.255", "11.0.0.0", "126.255.255.255"],
  ...["128.0.0.1", "172.15.255.255", "172.32.0.0", "192.167.255.255"],
  ...["192.169.0.0", "169.253.255.255", "169.255.0.0", "0.0.0.0"],
  ...["100.64.0.1", "224.0.0.1", "255.255.255.255"],
  ...["::", "::2", "2001:db8::1", "2606:4700::1", "ff02::1"],
  ...["fe7f::1", "fec0::1", "fbff::1", "fe00::1", "fc::1", "fd:1::"],
  ...["::ffff:8.8.8.8", "::ffff:172.32.0.1", "::ffff:172.15.0.1"],
  // Only the mapped form is IPv4: the last digits of others say nothing.
  ...["2001:db8::10.0.0.1", "2001:db8::ffff:10.0.0.1", "64:ff9b::10.0.0.1"],
];

Deno.test("address: loopback, link-local and private ones are private", () => {
  for (const ip of [...LOOPBACK, ...PRIVATE]) {
    assertEquals(isPrivateAddress(ip), true, ip);
  }
});

Deno.test("address: all others are not private", () => {
  for (const ip of PUBLIC) assertEquals(isPrivateAddress(ip), false, ip);
});

Deno.test("address: a name is not private, whatever it looks like", () => {
  const names = ["localhost", "10.example.org", "127.0.0.1.example.org"];
  for (const name of [...names, "", "fe80", "fd00", "192.168.1", "::1x"]) {
    assertEquals(isPrivateAddress(name), false, name);
  }
});

Deno.test("address: only those of this machine are loopback", () => {
  for (const ip of LOOPBACK) assertEquals(isLoopbackAddress(ip), true, ip);
  for (const ip of [...PRIVATE, ...PUBLIC, "127.0.0.1.example.org"]) {
    assertEquals(isLoopbackAddress(ip), false, ip);
  }
});

Deno.test("address: of all IPv4 addresses exactly five blocks are private", () => {
  const blocks: [number, number][] = [
    [0x7f000000, 8],
    [0x0a000000, 8],
    [0xac100000, 12],
    [0xc0a80000, 16],
    [0xa9fe0000, 16],
  ];
  const near = fc.tuple(fc.constantFrom(...blocks), fc.integer()).map((
    [[base], low],
  ) => (base + (low % 0x200000)) >>> 0);
  const ip = fc.oneof(near, fc.nat(2 ** 32 - 1));
  fc.assert(
    fc.property(ip, (number) => {
      const text = [24, 16, 8, 0].map((bits) => (number >>> bits) & 255)
        .join(".");
      const expected = blocks.some(([base, bits]) =>
        number >>> (32 - bits) === base >>> (32 - bits)
      );
      assertEquals(isPrivateAddress(text), expected, text);
      assertEquals(isPrivateAddress(`::ffff:${text}`), expected, text);
    }),
    { numRuns: 2_000 },
  );
});

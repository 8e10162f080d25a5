import { assert, assertEquals } from "@std/assert";
import {
  ADDRESS_AGE_MS_MAX,
  ADDRESSES_MAX,
  addressesOf,
  NodeAddresses,
} from "../../../../nodes/host/discovery/node_addresses.ts";
import {
  ANSWER_WAIT_MS,
  ANSWERS_MAX,
  OpenQuestions,
  QUESTIONS_MAX,
} from "../../../../nodes/host/discovery/open_questions.ts";
import { listInterfaces } from "../../../../nodes/host/discovery/interfaces.ts";
import { advertOf } from "../../../protocol/discovery_messages.ts";

function answer(nonce: string, id = "server-1") {
  return { nonce, time: 0, advert: advertOf({ id }) };
}

Deno.test("open questions: each node answers each question once", () => {
  const questions = new OpenQuestions();
  questions.asked("a", 1_000);
  questions.asked("b", 1_100);
  assertEquals(questions.take(answer("a"), 1_150), { tookMs: 150 });
  assertEquals(questions.take(answer("a"), 1_151), "repeated");
  assertEquals(questions.take(answer("a", "server-2"), 1_151), {
    tookMs: 151,
  });
  assertEquals(questions.take(answer("b"), 1_152), { tookMs: 52 });
  assertEquals(questions.take(answer("c"), 1_153), "unasked");
});

Deno.test("open questions: an answer that is late is to no question", () => {
  const questions = new OpenQuestions();
  questions.asked("a", 0);
  const late = answer("a", "server-2");
  assertEquals(questions.take(answer("a"), ANSWER_WAIT_MS - 1), {
    tookMs: ANSWER_WAIT_MS - 1,
  });
  assertEquals(questions.take(late, ANSWER_WAIT_MS), "unasked");
});

Deno.test("open questions: memory is bounded, the oldest goes", () => {
  const questions = new OpenQuestions();
  for (let i = 0; i <= QUESTIONS_MAX; i += 1) questions.asked(`${i}`, 0);
  assertEquals(questions.take(answer("0"), 1), "unasked");
  assertEquals(questions.take(answer("1"), 1), { tookMs: 1 });
  for (let i = 1; i < ANSWERS_MAX; i += 1) {
    assertEquals(questions.take(answer("1", `${i}`), 1), { tookMs: 1 });
  }
  assertEquals(questions.take(answer("1", "one more"), 1), "repeated");
});

Deno.test("node addresses: the first counts while it is heard, loopback only alone", () => {
  const addresses = new NodeAddresses();
  const advert = advertOf();
  const isBest = (host: string, nowMs: number) =>
    addresses.isBest(advert, { host, nowMs });
  assert(isBest("127.0.0.1", 0));
  assert(isBest("10.0.0.1", 1), "what others can reach is better");
  assert(!isBest("127.0.0.1", 2));
  assert(!isBest("192.168.0.1", 3));
  assert(isBest("10.0.0.1", ADDRESS_AGE_MS_MAX));
  assert(!isBest("192.168.0.1", ADDRESS_AGE_MS_MAX + 1));
  assert(isBest("127.0.0.1", 2 * ADDRESS_AGE_MS_MAX), "it is silent there");
  const other = advertOf({ id: "server-2" });
  assert(addresses.isBest(other, { host: "192.168.0.1", nowMs: 0 }));
  const at = { host: "10.0.0.7", nowMs: 1 };
  assert(!addresses.isBest(other, at));
  addresses.forget();
  assert(addresses.isBest(other, at));
});

Deno.test("node addresses: memory is bounded, the one longest quiet goes", () => {
  const addresses = new NodeAddresses();
  const at = { host: "10.0.0.1", nowMs: 0 };
  for (let i = 0; i <= ADDRESSES_MAX; i += 1) {
    addresses.isBest(advertOf({ id: `n${i}` }), at);
  }
  const elsewhere = { host: "10.0.0.2", nowMs: 1 };
  assert(!addresses.isBest(advertOf({ id: "n1" }), elsewhere));
  assert(addresses.isBest(advertOf({ id: "n0" }), elsewhere));
});

Deno.test("node addresses: an endpoint without a host is where the answer came from", () => {
  const from = { host: "10.0.0.1", isKeyed: true };
  const advert = advertOf({ peers: { port: 1 }, clients: { port: 2 } });
  assertEquals(addressesOf(advert, from), {
    peers: { host: "10.0.0.1", port: 1 },
    clients: { host: "10.0.0.1", port: 2 },
  });
  const { clients: _, ...witness } = advertOf({
    peers: { host: "lab1", port: 1 },
  });
  assertEquals(addressesOf(witness, from), {
    peers: { host: "lab1", port: 1 },
    clients: undefined,
  });
});

Deno.test("node addresses: without a key nobody is dialed at a stranger's word but at private addresses", () => {
  const from = { host: "10.0.0.1", isKeyed: false };
  const peersAt = (host: string) =>
    addressesOf(advertOf({ peers: { host, port: 1 } }), from).peers.host;
  for (const host of ["10.0.0.7", "127.0.0.1", "fd00::7", "fe80::1%eth0"]) {
    assertEquals(peersAt(host), host);
  }
  for (const host of ["8.8.8.8", "2001:db8::1", "example.org", "0.0.0.0"]) {
    assertEquals(peersAt(host), "10.0.0.1");
  }
});

function networkInterface(
  name: string,
  address: string,
  netmask: string,
): Deno.NetworkInterfaceInfo {
  return {
    family: "IPv4",
    ...{ name, address, netmask, scopeid: null, cidr: "", mac: "" },
  };
}

Deno.test("interfaces: loopback comes last, and each has its broadcast address", () => {
  const all: Deno.NetworkInterfaceInfo[] = [
    networkInterface("lo", "127.0.0.1", "255.0.0.0"),
    networkInterface("lo", "127.0.0.2", "255.0.0.0"),
    networkInterface("eth0", "10.1.2.3", "255.255.240.0"),
    networkInterface("eth0", "10.1.2.3", "255.255.240.0"),
    networkInterface("wan0", "8.8.8.8", "255.255.255.0"),
    networkInterface("tun0", "10.9.0.1", "255.255.255.255"),
    networkInterface("ppp0", "10.9.0.3", "255.255.255.254"),
    {
      family: "IPv6",
      ...{ name: "eth0", address: "fe80::1", cidr: "", mac: "" },
      ...{ netmask: "ffff:ffff:ffff:ffff::", scopeid: 2 },
    },
  ];
  const named = (isKeyed: boolean) =>
    listInterfaces(isKeyed, all).map(({ name, broadcast }) => [
      ...[name, broadcast],
    ]);
  assertEquals(named(false), [
    ["eth0", "10.1.15.255"],
    ["tun0", undefined],
    ["ppp0", undefined],
    ["lo", "127.255.255.255"],
  ]);
  assertEquals(named(true).map(([name]) => name), [
    ...["eth0", "wan0", "tun0", "ppp0", "lo"],
  ]);
  const many = Array.from(
    { length: 300 },
    (_, at) => networkInterface(`v${at}`, `10.0.${at >> 8}.${at & 255}`, "x"),
  );
  const listed = listInterfaces(false, [...many, ...all]);
  assertEquals([listed.length, listed.at(-1)?.name], [16, "lo"]);
});

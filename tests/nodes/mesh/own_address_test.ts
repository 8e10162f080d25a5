import { assertEquals } from "@std/assert";
import { mayDial, ownAddress } from "../../../nodes/mesh/own_address.ts";

const at = (name: string, address: string) => ({
  ...{ name, address },
  family: address.includes(":") ? "IPv6" as const : "IPv4" as const,
});
const LOOPBACK = [at("lo", "127.0.0.1"), at("lo", "::1")];

Deno.test("own address: a server that listens at one address is reached there", () => {
  for (const host of ["127.0.0.1", "10.0.0.1", "lab1.example"]) {
    const listen = { host, port: 5001 };
    assertEquals(ownAddress(listen, [at("eth0", "10.0.0.9")]), listen);
  }
});

Deno.test("own address: else at a private one, of its networks rather than of its containers", () => {
  const listen = { host: "0.0.0.0", port: 5001 };
  const cases = [
    [[at("docker0", "172.17.0.1"), at("eth0", "192.168.1.7")], "192.168.1.7"],
    [[at("eth0", "fd00::7"), at("eth1", "10.0.0.7")], "10.0.0.7"],
    [[at("eth0", "203.0.113.7"), at("eth1", "10.0.0.7")], "10.0.0.7"],
    [[at("br-42", "172.18.0.1")], "172.18.0.1"],
    [[at("eth0", "169.254.3.3")], "127.0.0.1"],
    [[], "127.0.0.1"],
  ] as const;
  for (const [interfaces, host] of cases) {
    const all = [...LOOPBACK, ...interfaces];
    assertEquals(ownAddress(listen, all), { host, port: 5001 });
  }
});

Deno.test("own address: only what may be another server of this mesh is dialled", () => {
  const may = (host: string, own: string, isKeyed: boolean) =>
    mayDial({ host, port: 5002 }, {
      own: { host: own, port: 5001 },
      isKeyed,
    });
  assertEquals(may("127.0.0.1", "127.0.0.1", false), true);
  assertEquals(may("127.0.0.1", "10.0.0.1", true), false);
  assertEquals(may("10.0.0.2", "10.0.0.1", false), true);
  assertEquals(may("203.0.113.1", "10.0.0.1", false), false);
  assertEquals(may("lab2.example", "10.0.0.1", false), false);
  assertEquals(may("203.0.113.1", "10.0.0.1", true), true);
  assertEquals(may("lab2.example", "10.0.0.1", true), true);
});

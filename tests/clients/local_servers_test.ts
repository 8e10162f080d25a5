import { assertEquals, assertMatch } from "@std/assert";
import { localServers, whichServer } from "../../clients/local_servers.ts";
import { sighting } from "./sightings.ts";

const INTERFACES = [{ address: "127.0.0.1" }, { address: "10.0.0.2" }];

Deno.test("local servers: those that answer from an address of this machine", () => {
  const nodes = [
    sighting("a", { host: "10.0.0.1" }),
    sighting("b", { host: "10.0.0.2", port: 8092 }),
    sighting("c", { host: "127.0.0.1", port: 8093 }),
    sighting("w", { host: "127.0.0.1", kind: "witness" }),
  ];
  assertEquals(localServers(nodes, INTERFACES), [
    { id: "b", address: { host: "127.0.0.1", port: 8092 } },
    { id: "c", address: { host: "127.0.0.1", port: 8093 } },
  ]);
});

Deno.test("local servers: where none answers, the key may be why; others are not offered to be sent away", () => {
  const nodes = [
    sighting("a", { host: "10.0.0.1" }),
    sighting("w", { host: "10.0.0.3", kind: "witness" }),
  ];
  const text = whichServer(nodes, [], { key: undefined });
  assertMatch(text, /\(one with a cluster key .* --key-file\); on others /);
  assertMatch(text, /a with -c 10\.0\.0\.1:8091$/);
  const keyed = whichServer(nodes, [], { key: new Uint8Array(16) });
  assertMatch(keyed, /\(one with no cluster key, or another one /);
});

Deno.test("local servers: one that listens at one address is met there", () => {
  const node = sighting("b", { host: "10.0.0.2" });
  const own = { host: "10.0.0.2", port: 8091 };
  const advert = { ...node.advert, clients: own };
  const [found] = localServers([{ ...node, advert, clients: own }], INTERFACES);
  assertEquals(found.address, own);
});

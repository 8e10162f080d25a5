import { assertEquals } from "@std/assert";
import { localServers, serversOf } from "../../clients/local_servers.ts";
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
  assertEquals(serversOf(nodes).map(({ id }) => id), ["a", "b", "c"]);
});

Deno.test("local servers: one that listens at one address is met there", () => {
  const node = sighting("b", { host: "10.0.0.2" });
  const own = { host: "10.0.0.2", port: 8091 };
  const advert = { ...node.advert, clients: own };
  const [found] = localServers([{ ...node, advert, clients: own }], INTERFACES);
  assertEquals(found.address, own);
});

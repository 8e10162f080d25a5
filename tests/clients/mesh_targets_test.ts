import { assertEquals } from "@std/assert";
import { ASKED_MAX, byLoad, MeshTargets } from "../../clients/mesh_targets.ts";
import { formatAddress, parseAddress } from "../../protocol/address.ts";
import type { MeshStatus } from "../../protocol/mesh.ts";

const asked = (host: string, clients: number, server = host) => {
  const status: MeshStatus = {
    ...{ service: "mesh", server, cluster: "skein", clients },
    ...{ draining: false, topology: "mesh", servers: [] },
  };
  return { address: { host, port: 1 }, status };
};

const hosts = (...args: Parameters<typeof byLoad>) =>
  byLoad(...args).map(({ host }) => host).join("");

Deno.test("mesh targets: addresses are as those see them who were told", () => {
  const told = (from: string, ...texts: string[]) => {
    const targets = new MeshTargets([]);
    targets.told(parseAddress(from), texts);
    return targets.all.map(formatAddress);
  };
  assertEquals(told("lab:5001", "127.0.0.1:5002"), ["lab:5002"]);
  assertEquals(told("127.0.0.1:5001", "127.0.0.1:5002"), ["127.0.0.1:5002"]);
  assertEquals(told("lab:5001", "0.0.0.0:5002"), ["lab:5002"]);
  assertEquals(told("lab:5001", "other:5002"), ["other:5002"]);
  assertEquals(told("lab:5001", "nonsense", "x:0", "x:99999", "\x1b[2J:1"), []);
  assertEquals(told("lab:1", "b:1", "B:1", "b:1"), ["b:1"]);
});

Deno.test("mesh targets: what was given comes first, what was heard of last next, and no more than can be asked", () => {
  const targets = new MeshTargets([{ host: "given", port: 1 }]);
  for (let i = 0; i < 100; i++) targets.found([{ host: `s${i}`, port: 1 }]);
  assertEquals(targets.all.length, ASKED_MAX);
  assertEquals(targets.all[0].host, "given");
  assertEquals(targets.all[1].host, "s99");
  assertEquals(targets.size, 65);
});

Deno.test("mesh targets: the least loaded; two addresses of one server are one", () => {
  const all = [asked("a", 3), asked("b", 1), asked("c", 1), asked("d", 1, "b")];
  const first = { dice: 0, isAgain: false };
  assertEquals(hosts(all, first), "bca");
  assertEquals(hosts(all, { ...first, dice: 0.5 }), "cba");
  assertEquals(hosts([], first), "");
});

Deno.test("mesh targets: of many that come at once, each server gets some, and an empty one all", () => {
  const shares = (a: number, b: number) => {
    const counts: Record<string, number> = { a: 0, b: 0 };
    for (let i = 0; i < 100; i++) {
      const dice = { dice: i / 100, isAgain: true };
      counts[byLoad([asked("a", a), asked("b", b)], dice)[0].host] += 1;
    }
    return [counts.a, counts.b];
  };
  assertEquals(shares(100, 110), [50, 50]);
  assertEquals(shares(100, 0), [0, 100]);
});

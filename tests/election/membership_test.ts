import { assert, assertEquals } from "@std/assert";
import { Membership, type Peer, PEERS_MAX } from "../../election/membership.ts";

Deno.test("membership: a refused node is suspect at once, a silent one in time", () => {
  const membership = new Membership();
  const peer: Peer = {
    id: "b",
    kind: "server",
    priority: 0,
    store: "b".repeat(16),
    incarnation: "1".repeat(16),
    group: undefined,
  };
  const isSuspect = (nowMs: number) =>
    membership.isSuspect(peer.store, { nowMs, silentMs: 100 });
  assert(isSuspect(0), "nobody was ever there");
  membership.up(peer, 0);
  assert(!isSuspect(99) && isSuspect(100));
  membership.heard(peer.store, 50);
  assert(!isSuspect(149));
  membership.refused(peer.store);
  assert(!isSuspect(149), "a link stands: the refusal was an older one's");
  membership.down(peer.store, "closed");
  assert(!isSuspect(149));
  membership.refused(peer.store);
  assert(isSuspect(51));
  membership.up(peer, 60);
  assert(!isSuspect(61));
});

Deno.test("membership: who is gone longest is forgotten first, at a bound", () => {
  const membership = new Membership();
  const stranger = (number: number): Peer => ({
    id: "s",
    kind: "server",
    priority: 0,
    store: number.toString(16).padStart(16, "0"),
    incarnation: "1".repeat(16),
    group: undefined,
  });
  membership.up(stranger(0), 0);
  for (let i = 1; i <= 2 * PEERS_MAX; i++) {
    membership.up(stranger(i), 0);
    membership.down(stranger(i).store, "closed");
  }
  assert(membership.isUp(stranger(0).store), "a link stands");
  assertEquals(membership.get(stranger(1).store), undefined);
  assert(membership.get(stranger(2 * PEERS_MAX).store) !== undefined);
});

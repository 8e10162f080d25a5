import { assert, assertEquals } from "@std/assert";
import { Acceptor } from "../../election/acceptor.ts";
import { Bully } from "../../election/bully.ts";
import { Jitter } from "../../election/jitter.ts";
import { Membership, type Peer, PEERS_MAX } from "../../election/membership.ts";
import { type Epoch, EPOCH_NONE } from "../../protocol/epoch.ts";
import type { View } from "../../protocol/view.ts";

const STORE = "a".repeat(16);

function epoch(counter: number): Epoch {
  return { counter, store: STORE };
}

function view(counter: number): View {
  const [voters, members] = [[STORE], [STORE]];
  const nodes = { [STORE]: { id: "a", kind: "server", priority: 0 } } as const;
  return {
    epoch: epoch(counter),
    group: STORE,
    voters,
    members,
    primary: STORE,
    nodes,
    reason: "",
  };
}

Deno.test("acceptor: nothing below what was promised is promised or accepted", () => {
  const acceptor = new Acceptor();
  assert(acceptor.promise(epoch(5)) !== undefined);
  assertEquals(acceptor.promise(epoch(4)), undefined);
  assertEquals(acceptor.accept(view(4), { isRepaired: true }), undefined);
  assert(acceptor.accept(view(5), { isRepaired: true }) !== undefined);
  assert(acceptor.hasAccepted(epoch(5)));
  assertEquals(acceptor.promised, epoch(5));
});

Deno.test("acceptor: an epoch of the same counter is ordered by its store", () => {
  const acceptor = new Acceptor();
  acceptor.promise({ counter: 5, store: "b".repeat(16) });
  assertEquals(acceptor.promise(epoch(5)), undefined);
});

Deno.test("acceptor: leads only above all that it knew when it started", () => {
  const acceptor = new Acceptor();
  acceptor.load({ promised: epoch(7), accepted: view(6), isDamaged: false });
  assert(!acceptor.mayLead(epoch(7)));
  assert(acceptor.mayLead(epoch(8)));
});

Deno.test("acceptor: a save counts when it and those before it are done", () => {
  const acceptor = new Acceptor();
  const first = acceptor.promise(epoch(1));
  const second = acceptor.promise(epoch(2));
  assert(first !== undefined && second !== undefined);
  acceptor.saved(first.number);
  assert(acceptor.isSaved(first.number) && !acceptor.isSaved(second.number));
});

Deno.test("acceptor: damage is forgotten only with a view that has this store", () => {
  const acceptor = new Acceptor();
  acceptor.load({ promised: EPOCH_NONE, accepted: undefined, isDamaged: true });
  acceptor.accept(view(1), { isRepaired: false });
  assert(acceptor.isDamaged);
  acceptor.accept(view(2), { isRepaired: true });
  assert(!acceptor.isDamaged);
});

Deno.test("bully: the highest proposes at once, a lower one asks and waits", () => {
  const bully = new Bully({ aliveMs: 10, electionMs: 100 });
  assertEquals(bully.tick(0, []), { kind: "propose" });
  assertEquals(bully.tick(0, ["b"]), { kind: "ask", higher: ["b"] });
  assertEquals(bully.tick(9, ["b"]), { kind: "wait" });
  assertEquals(bully.tick(10, ["b"]), { kind: "propose" });
});

Deno.test("bully: a higher node that lives has its turn, and loses it", () => {
  const bully = new Bully({ aliveMs: 10, electionMs: 100 });
  bully.alive(0); // Nobody was asked: means nothing.
  bully.tick(0, ["b"]);
  bully.alive(5);
  assertEquals(bully.tick(104, ["b"]), { kind: "wait" });
  assertEquals(bully.tick(105, ["b"]), { kind: "propose" });
});

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

Deno.test("jitter: the same for a seed, and within its bounds", () => {
  const [one, other] = [new Jitter(7), new Jitter(7)];
  for (let i = 0; i < 1_000; i++) {
    const value = one.between(5, 10);
    assert(value >= 5 && value < 10);
    assertEquals(other.between(5, 10), value);
  }
  assert(new Jitter(0x9e3779b9).between(0, 1) > 0, "a seed that would be zero");
});

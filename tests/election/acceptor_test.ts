import { assert, assertEquals } from "@std/assert";
import { Acceptor } from "../../election/acceptor.ts";
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

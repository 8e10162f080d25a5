import { assert, assertEquals } from "@std/assert";
import {
  Ballot,
  type BallotPurpose,
  type Promised,
} from "../../election/ballot.ts";
import { type Epoch, EPOCH_NONE } from "../../protocol/epoch.ts";
import type { LogPosition } from "../../protocol/replica.ts";
import type { NodeInfo, View } from "../../protocol/view.ts";

const [A, B, C, W, X, D] = ["a", "b", "c", "w", "x", "d"].map((letter) =>
  letter.repeat(16)
);
const NODES: Readonly<Record<string, NodeInfo>> = {
  [A]: { id: "a", kind: "server", priority: 0 },
  [B]: { id: "b", kind: "server", priority: 0 },
  [C]: { id: "c", kind: "server", priority: 0 },
  [D]: { id: "d", kind: "server", priority: 0 },
  [W]: { id: "w", kind: "witness", priority: 0 },
  [X]: { id: "x", kind: "witness", priority: 0 },
};
const END: LogPosition = { index: 7, epoch: epoch(1) };

function epoch(counter: number): Epoch {
  return { counter, store: A };
}

function view(counter: number, change: Partial<View> = {}): View {
  return {
    epoch: epoch(counter),
    group: A,
    voters: [A, B, C, W, X],
    members: [A, B, C],
    primary: C,
    nodes: NODES,
    reason: "",
    ...change,
  };
}

function ballot(
  purpose: BallotPurpose,
  options: { leads?: View; sticky?: boolean } = {},
): Ballot {
  const made = new Ballot({
    purpose,
    reason: "a test",
    self: A,
    leads: options.leads,
    sticky: options.sticky === true,
    nodeOf: (store) => NODES[store],
  });
  made.prepare(epoch(9));
  return made;
}

function answer(accepted: View | undefined, change: Partial<Promised> = {}) {
  return {
    accepted,
    last: END,
    isDraining: false,
    isDamaged: false,
    ...change,
  };
}

const NO_LOG = { last: undefined };

Deno.test("ballot: only a majority of the newest view's voters may go on", () => {
  const made = ballot({ kind: "members" });
  made.promise(A, answer(view(1)));
  made.promise(B, answer(view(1)));
  assert(!made.mayChoose);
  made.promise(W, answer(view(1), NO_LOG));
  assert(made.mayChoose);
});

Deno.test("ballot: an answer that shows a newer view makes it collect anew", () => {
  const made = ballot({ kind: "members" });
  made.promise(A, answer(view(1)));
  made.promise(B, answer(view(1)));
  const newer = view(2, { voters: [A, C, W, X, D], members: [A, C] });
  made.promise(W, answer(newer, NO_LOG));
  assert(!made.mayChoose, "a and w are two of that view's five");
  made.promise(X, answer(view(1), NO_LOG));
  assert(made.mayChoose);
  assertEquals(made.choose().members, [A]);
});

Deno.test("ballot: who did not answer, or whose log is damaged, is no member", () => {
  const made = ballot({ kind: "members" });
  made.promise(A, answer(view(1)));
  made.promise(B, answer(view(1), { isDamaged: true }));
  made.promise(W, answer(view(1), NO_LOG));
  const chosen = made.choose();
  assertEquals(chosen.members, [A]);
  assertEquals(chosen.primary, A);
  assertEquals(chosen.voters, [A, B, C, W, X].sort());
});

Deno.test("ballot: without a member that has the data nothing is chosen", () => {
  const made = ballot({ kind: "members" });
  const others = view(1, { members: [B, C] });
  for (const store of [W, X]) made.promise(store, answer(others, NO_LOG));
  made.promise(A, answer(others));
  assert(!made.mayChoose);
});

Deno.test("ballot: whoever leaves stays a member only if nobody else is left", () => {
  const leaving = ballot({ kind: "members" });
  leaving.promise(A, answer(view(1)));
  leaving.promise(B, answer(view(1), { isDraining: true }));
  leaving.promise(C, answer(view(1)));
  assertEquals(leaving.choose().members, [A, C]);
  const last = ballot({ kind: "members" });
  last.promise(B, answer(view(1), { isDraining: true }));
  for (const store of [W, X]) last.promise(store, answer(view(1), NO_LOG));
  assertEquals(last.choose().primary, B);
});

Deno.test("ballot: the highest that answered leads, a working primary if sticky", () => {
  for (const sticky of [false, true]) {
    const made = ballot({ kind: "members" }, { sticky });
    for (const store of [A, B, C]) {
      made.promise(store, answer(view(1, { primary: B })));
    }
    assertEquals(made.choose().primary, sticky ? B : C);
  }
});

Deno.test("ballot: a joiner must show the frozen log's end in its promise", () => {
  const leads = view(1, { members: [A, B], primary: B });
  for (
    const [last, isIn] of [
      [END, true],
      [{ index: 6, epoch: epoch(1) }, false],
      [{ index: 7, epoch: EPOCH_NONE }, false],
      [undefined, false],
    ] as const
  ) {
    const made = ballot({ kind: "join", joiners: [C], end: END }, { leads });
    made.promise(A, answer(leads));
    made.promise(B, answer(leads));
    made.promise(C, answer(leads, { last, isDamaged: true }));
    assertEquals(made.choose().members.includes(C), isIn);
  }
});

Deno.test("ballot: a change is made only of the view that its proposer leads", () => {
  const leads = view(1);
  const made = ballot({ kind: "voters", voters: [A, B, C, W] }, { leads });
  for (const store of [A, B, C]) made.promise(store, answer(view(2)));
  const chosen = made.choose();
  assertEquals(chosen.voters, view(2).voters.toSorted());
  assertEquals(chosen.previousVoters, undefined);
});

Deno.test("ballot: nobody gets a vote who has not promised", () => {
  const leads = view(2, { voters: [A, B, C] });
  const voters = [A, B, C, W];
  const choose = (present: readonly string[]) => {
    const made = ballot({ kind: "voters", voters }, { leads });
    for (const store of present) {
      made.promise(store, answer(leads, store === W ? NO_LOG : {}));
    }
    return made.choose().voters;
  };
  assertEquals(choose([A, B, C]), leads.voters.toSorted());
  assertEquals(choose([A, B, C, W]), voters.toSorted());
});

Deno.test("ballot: a change of voters takes the old set along until it is settled", () => {
  const leads = view(1);
  const voters = [A, B, C, W];
  const first = ballot({ kind: "voters", voters }, { leads });
  for (const store of [A, B, C]) first.promise(store, answer(leads));
  const joint = first.choose();
  assertEquals(joint.previousVoters, leads.voters.toSorted());
  // Two of four, and all of those, are three of the old five: not enough.
  first.accept(A);
  first.accept(X);
  first.accept(B);
  assert(!first.isActive, "a and b are two of the new four");
  first.accept(C);
  assert(first.isActive);
  const failing = ballot({ kind: "members" });
  for (const store of [A, B, C]) failing.promise(store, answer(joint));
  assertEquals(failing.choose().previousVoters, leads.voters.toSorted());
  const settling = ballot({ kind: "settle" }, { leads: joint });
  for (const store of [A, B, C]) settling.promise(store, answer(joint));
  assertEquals(settling.choose().previousVoters, undefined);
});

Deno.test("ballot: a group is born only of all its founders, none with a view", () => {
  const founders = [A, B, W];
  const made = ballot({ kind: "birth", founders });
  made.promise(A, answer(undefined));
  made.promise(B, answer(undefined));
  assert(!made.mayChoose);
  made.promise(W, answer(undefined, NO_LOG));
  const born = made.choose();
  assertEquals(born.members, [A, B]);
  assertEquals(born.primary, B);
  const again = ballot({ kind: "birth", founders });
  again.promise(A, answer(undefined));
  again.promise(W, answer(view(1), NO_LOG));
  again.promise(B, answer(undefined));
  assert(again.mayChoose, "three of the five voters of that view");
  assertEquals(again.choose().voters, view(1).voters.toSorted());
});

Deno.test("ballot: a pre-vote needs a majority with a member of the newest view", () => {
  const made = ballot({ kind: "members" });
  for (const store of [W, X]) made.grant(store, view(1, { members: [B] }));
  made.grant(A, view(1, { members: [B] }));
  assert(!made.mayPrepare);
  made.grant(B, view(1, { members: [B] }));
  assert(made.mayPrepare);
});

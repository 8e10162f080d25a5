import { assertEquals } from "@std/assert";
import type { ChatEffect } from "../../clients/chat_contract.ts";
import { CREDENTIALS, Driven, server, SESSION } from "./driven_chat.ts";

/** What server `s0` says of three servers, of which the last leads. */
function view(counter: number, changes: Record<string, unknown> = {}) {
  return {
    node: "a",
    epoch: { counter, store: "00c0ffee00c0ffee" },
    leader: "c",
    reason: "",
    servers: [
      { id: "a" },
      { id: "b", address: "b:8091" },
      { id: "c", address: "c:8091" },
    ],
    ...changes,
  };
}

function listed(...numbers: number[]): Record<string, unknown> {
  const messages = numbers.map((n) => ({
    n,
    from: "bob",
    to: "ann",
    text: `text ${n}`,
    time: 0,
  }));
  return { messages };
}

const LIST = { kind: "list", limit: 20, unread: false } as const;

function isStall(effect: ChatEffect): effect is ChatEffect & {
  kind: "stalled";
} {
  return effect.kind === "stalled";
}

Deno.test("chat core: logs in, shows what is unread and then what comes", () => {
  const driven = new Driven();
  driven.step({ kind: "login", credentials: CREDENTIALS });
  assertEquals(driven.took("dial"), ["dial s0 0"]);
  driven.step({ kind: "connected" });
  driven.ok("login", { user: "ann", ...SESSION, index: 10 });
  // It comes while the unread ones are on their way, and once more among them.
  driven.message(12).message(13);
  const list = driven.requests[0];
  assertEquals([list.type, list.unread, list.seen], ["list", true, 10]);
  driven.ok("list", { index: 12, ...listed(3, 5, 12) });
  driven.message(14).message(14);
  assertEquals(driven.took("ready", "show"), [
    ...["ready", "show 3", "show 5", "show 12", "show 13", "show 14"],
  ]);
});

Deno.test("chat core: a list that is not at its end is asked for on", () => {
  const driven = new Driven();
  driven.step({ kind: "login", credentials: CREDENTIALS });
  driven.step({ kind: "connected" });
  driven.ok("login", { user: "ann", ...SESSION, index: 10 });
  driven.ok("list", { index: 10, next: 5, ...listed(3) });
  const { after, unread } = driven.requests[0];
  assertEquals([after, unread], [5, undefined]);
  driven.ok("list", { index: 10, ...listed(7) });
  assertEquals(driven.took("show"), ["show 3", "show 7"]);
  assertEquals(driven.core.shown, 10);
});

Deno.test("chat core: after a loss it resumes elsewhere, sends again under the same numbers and shows what it missed once", () => {
  const driven = new Driven().ready();
  driven.send("a").send("b").send("c");
  driven.ok("send", { seq: 1, n: 11 });
  driven.message(12);
  assertEquals(driven.took("show", "result"), ["send ok", "show 12"]);
  driven.lose();
  assertEquals(driven.took("dial", "trouble"), ["trouble", "dial s1 0"]);
  driven.step({ kind: "connected" });
  const resume = driven.requests[0];
  assertEquals([resume.session, resume.secret, resume.seen], [
    ...[SESSION.session, SESSION.secret, 12],
  ]);
  driven.ok("resume", { user: "ann", session: SESSION.session, index: 14 });
  const [list, ...sends] = driven.requests;
  assertEquals([list.after, list.unread], [12, undefined]);
  assertEquals(sends.map(({ text, seq }) => [text, seq]), [["b", 2], ["c", 3]]);
  driven.ok("list", { index: 14, ...listed(13, 14) });
  driven.message(14).message(15);
  assertEquals(driven.took("ready", "show"), [
    ...["again", "show 13", "show 14", "show 15"],
  ]);
});

Deno.test("chat core: a session that is over makes it log in anew, and what may have been done is not sent again", () => {
  const driven = new Driven().ready();
  driven.send("sent");
  driven.lose();
  driven.send("not sent yet");
  driven.step({ kind: "connected" });
  driven.error("resume", "session-unknown");
  driven.ok("login", { user: "ann", ...SESSION, index: 20 });
  assertEquals(driven.took("result", "ready"), ["send unknown", "again"]);
  const [, send] = driven.requests;
  assertEquals([send.text, send.seq], ["not sent yet", 1]);
});

Deno.test("chat core: what a server cannot take now goes again after the time it says", () => {
  const driven = new Driven().ready();
  driven.send("a").send("b");
  driven.error("send", "no-primary", { retryMs: 200 });
  driven.error("send", "sequence-gap");
  assertEquals(driven.requests, []);
  driven.pass(199);
  assertEquals(driven.requests, []);
  driven.pass(400);
  assertEquals(driven.requests.map(({ seq }) => seq), [1, 2]);
  driven.ok("send", { seq: 1, n: 11 }).ok("send", { seq: 2, n: 12 });
  assertEquals(driven.took("result"), ["send ok", "send ok"]);
});

Deno.test("chat core: a refused message leaves no hole behind", () => {
  const driven = new Driven().ready();
  driven.send("a").send("b");
  driven.error("send", "control-character", { outcome: "definite" });
  assertEquals(driven.took("result"), ["send refused"]);
  const [b, filler] = driven.requests.splice(0);
  assertEquals([filler.type, filler.seq], ["mark_read", 1]);
  driven.says({ type: "error", id: b.id, code: "sequence-gap", text: "" });
  driven.says({ type: "ok", id: filler.id, seq: 1 });
  driven.pass(1_000);
  driven.ok("send", { seq: 2, n: 11 });
  assertEquals(driven.took("result"), ["send ok"]);
  assertEquals(driven.core.openCount, 0);
});

Deno.test("chat core: a message to nobody is refused, and the next one goes on", () => {
  const driven = new Driven().ready();
  driven.send("a").send("b");
  driven.error("send", "no-such-user", { outcome: "definite" });
  driven.ok("send", { seq: 2, n: 11 });
  assertEquals(driven.took("result"), ["send refused", "send ok"]);
});

Deno.test("chat core: a new account is made first, and one that is there already is as good", () => {
  const credentials = { ...CREDENTIALS, isNew: true };
  const driven = new Driven();
  driven.step({ kind: "login", credentials });
  driven.step({ kind: "connected" });
  driven.error("register", "name-taken", { outcome: "definite" });
  driven.error("login", "wrong-password", { outcome: "definite" });
  assertEquals(driven.took("refused"), ["refused name-taken"]);
  driven.step({ kind: "login", credentials: CREDENTIALS });
  driven.ok("login", { user: "ann", ...SESSION, index: 1 });
  assertEquals(driven.took("ready"), ["ready"]);
});

Deno.test("chat core: a login that is refused for now is tried again, one that is wrong is not", () => {
  const driven = new Driven();
  driven.step({ kind: "login", credentials: CREDENTIALS });
  driven.step({ kind: "connected" });
  driven.error("login", "busy", { retryMs: 100 });
  driven.pass(100);
  driven.error("login", "wrong-password", { outcome: "definite" });
  driven.pass(60_000);
  assertEquals(driven.requests, []);
  assertEquals(driven.took("refused"), ["refused wrong-password"]);
});

Deno.test("chat core: every server is tried once before the wait grows", () => {
  const driven = new Driven({ targets: 2 });
  driven.step({ kind: "login", credentials: CREDENTIALS });
  const problem = { code: "link-lost", text: "refused" } as const;
  for (let i = 0; i < 4; i++) driven.step({ kind: "unreachable", problem });
  assertEquals(driven.took("dial"), [
    ...["dial s0 0", "dial s1 0", "dial s0 1", "dial s1 1", "dial s0 2"],
  ]);
});

Deno.test("chat core: when no server lets it in, it gives up", () => {
  const driven = new Driven({ targets: 2 });
  driven.step({ kind: "login", credentials: CREDENTIALS });
  const problem = { code: "lines-refused", text: "not you" } as const;
  driven.step({ kind: "unreachable", problem });
  assertEquals(driven.took("done"), []);
  driven.step({ kind: "unreachable", problem });
  assertEquals(driven.took("done"), ["done lines-refused"]);
});

Deno.test("chat core: a refusal in the first words of a server counts as one", () => {
  const driven = new Driven({ targets: 1 });
  driven.step({ kind: "login", credentials: CREDENTIALS });
  driven.step({ kind: "connected" });
  driven.says({ type: "error", code: "not-private", text: "not you" });
  assertEquals(driven.took("done", "close"), ["close", "done not-private"]);
});

Deno.test("chat core: a server that stops, or cuts it off, sends it to another", () => {
  for (const code of ["shutting-down", "slow-consumer", "timeout"] as const) {
    const driven = new Driven().ready();
    driven.says({ type: "error", code, text: code });
    assertEquals(driven.took("close", "dial"), ["close", "dial s1 0"], code);
  }
});

Deno.test("chat core: a quiet connection is asked whether it is one, and left if it does not answer", () => {
  const driven = new Driven().ready();
  driven.pass(10_000);
  driven.ok("ping", { index: 10 });
  driven.pass(10_000);
  driven.next("ping");
  driven.pass(10_000);
  assertEquals(driven.took("close", "dial"), ["close", "dial s1 0"]);
});

Deno.test("chat core: at the end of the input all is awaited, then the session ended", () => {
  const driven = new Driven({ shows: false });
  driven.step({ kind: "login", credentials: CREDENTIALS });
  driven.step({ kind: "connected" });
  driven.ok("login", { user: "ann", ...SESSION, index: 1 });
  assertEquals(driven.took("want-input"), ["want-input"]);
  driven.send("a");
  driven.step({ kind: "end" });
  assertEquals(driven.took("done"), []);
  driven.ok("send", { seq: 1, n: 2 });
  driven.ok("logout", { seq: 2 });
  assertEquals(driven.took("result", "close", "done"), [
    ...["send ok", "logout ok", "close", "done"],
  ]);
});

Deno.test("chat core: a logout whose answer never comes does not keep it", () => {
  const driven = new Driven().ready();
  driven.step({ kind: "end" });
  driven.next("logout");
  driven.pass(2_000);
  assertEquals(driven.took("done"), ["done"]);
  const other = new Driven().ready();
  other.step({ kind: "end" }).lose();
  assertEquals(other.took("done"), ["done"]);
});

Deno.test("chat core: a deletion whose answer was lost shows by the login that fails", () => {
  const driven = new Driven().ready();
  const command = {
    kind: "delete-account",
    password: "correct horse",
  } as const;
  driven.step({ kind: "command", command });
  driven.lose();
  driven.step({ kind: "connected" });
  driven.error("resume", "session-unknown");
  driven.error("login", "wrong-password", { outcome: "definite" });
  assertEquals(driven.took("result", "done"), ["delete-account ok", "done"]);
});

Deno.test("chat core: a session taken over elsewhere is the end", () => {
  const driven = new Driven().ready();
  driven.says({ type: "error", code: "session-moved", text: "moved" });
  assertEquals(driven.took("done"), ["done session-moved"]);
});

Deno.test("chat core: a server that was behind is asked for what it did not push", () => {
  const driven = new Driven().ready();
  driven.says({ type: "notice", code: "missed", text: "list" });
  driven.message(20);
  driven.ok("list", { index: 19, ...listed(15) });
  assertEquals(driven.took("show"), ["show 15", "show 20"]);
});

Deno.test("chat core: no more than 64 commands are on their way", () => {
  const driven = new Driven().ready();
  for (let i = 0; i < 100; i++) driven.send(`${i}`);
  assertEquals(driven.requests.length, 64);
  driven.ok("send", { seq: 1, n: 11 });
  assertEquals(driven.requests.length, 64);
});

Deno.test("chat core: the group is followed from the first word on, before any login", () => {
  const driven = new Driven({ targets: 1 });
  driven.step({ kind: "login", credentials: CREDENTIALS });
  driven.step({ kind: "connected" });
  driven.watched(view(6));
  driven.error("login", "busy", { retryMs: 100 });
  driven.says({ type: "view", ...view(7) });
  assertEquals(driven.took("view"), ["follows 6", "epoch 7"]);
});

Deno.test("chat core: after a loss the leader comes first, then the other servers, the lost one last", () => {
  const driven = new Driven({ targets: 1 }).ready();
  driven.watched(view(6));
  driven.lose();
  assertEquals(driven.took("dial"), ["dial c 0"]);
  assertEquals(driven.fails(4), [
    "dial b 0",
    "dial s0 0",
    "dial c 1",
    "dial b 1",
  ]);
});

Deno.test("chat core: a lost leader is tried last, and the one that another server tells of first", () => {
  const driven = new Driven({ targets: 1 }).ready();
  driven.watched(view(6, { leader: "a" }));
  driven.lose();
  assertEquals(driven.took("dial"), ["dial b 0"]);
  driven.step({ kind: "connected" });
  const servers = [{ id: "b" }, { id: "c", address: "c:8091" }];
  driven.watched(view(7, { node: "b", servers }));
  driven.ok("resume", { user: "ann", index: 12 });
  driven.lose();
  assertEquals(driven.took("view", "dial"), ["epoch 7", "dial c 0"]);
});

Deno.test("chat core: servers that come and go are followed, given ones are kept", () => {
  const driven = new Driven({ targets: 2 }).ready();
  driven.watched(view(6));
  const servers = [{ id: "a" }, { id: "d", address: "d:8091" }];
  driven.says({ type: "view", ...view(7, { leader: "d", servers }) });
  driven.lose();
  assertEquals(driven.took("dial"), ["dial d 0"]);
  assertEquals(driven.fails(3), ["dial s1 0", "dial s0 0", "dial d 1"]);
});

Deno.test("chat core: an address that is not known to one server any more is kept from another", () => {
  const driven = new Driven({ targets: 1 }).ready();
  driven.watched(view(6));
  const servers = [{ id: "a" }, { id: "b" }, { id: "c" }];
  driven.says({ type: "view", ...view(7, { servers }) });
  driven.lose();
  assertEquals(driven.took("dial"), ["dial c 0"]);
});

Deno.test("chat core: a view that is shown was never seen before, and none goes back", () => {
  const driven = new Driven().ready();
  driven.watched(view(6));
  driven.says({ type: "view", ...view(8) });
  driven.says({ type: "view", ...view(8) });
  driven.lose();
  driven.step({ kind: "connected" });
  driven.watched(view(7));
  driven.says({ type: "view", ...view(9) });
  assertEquals(driven.took("view"), ["follows 6", "epoch 8", "epoch 9"]);
});

Deno.test("chat core: a view of another group counts, whatever its epoch", () => {
  const driven = new Driven().ready();
  driven.watched(view(6, { group: "0000000000000001" }));
  driven.says({ type: "view", ...view(2, { group: "0000000000000002" }) });
  assertEquals(driven.took("view"), ["follows 6", "epoch 2"]);
});

Deno.test("chat core: a server that cannot be followed serves all the same", () => {
  const driven = new Driven({ targets: 1 }).ready();
  driven.says({
    ...{ type: "error", id: driven.watches[0], code: "invalid-message" },
    text: '"type" is "watch"',
  });
  driven.send("a");
  driven.ok("send", { seq: 1, n: 11 });
  assertEquals(driven.took("result", "close"), ["send ok"]);
});

Deno.test("chat core: without a server it waits until some are found, and takes more in while it looks on", () => {
  const driven = new Driven({ targets: 0 });
  driven.step({ kind: "login", credentials: CREDENTIALS });
  assertEquals(driven.took("dial", "done"), []);
  driven.step({ kind: "found", addresses: [server("l"), server("m")] });
  assertEquals(driven.took("dial"), ["dial l 0"]);
  driven.step({ kind: "found", addresses: [server("n"), server("l")] });
  assertEquals(driven.fails(4), [
    "dial n 0",
    "dial m 0",
    "dial n 1",
    "dial l 1",
  ]);
});

Deno.test("chat core: what is not acknowledged is told once with the server's reason, and that it goes on", () => {
  const driven = new Driven().ready();
  driven.send("a").send("b");
  for (let i = 0; i < 30; i++) {
    driven.error("send", "no-primary", { text: "nobody", retryMs: 200 });
    driven.error("send", "sequence-gap", { retryMs: 200 });
    assertEquals(driven.effects.some(isStall), i === 10, `${driven.nowMs} ms`);
    const [stall] = driven.effects.filter(isStall);
    if (i === 10) assertEquals(stall.problem.text, "nobody");
    driven.effects = [];
    driven.pass(200);
  }
  driven.ok("send", { seq: 1, n: 11 }).ok("send", { seq: 2, n: 12 });
  assertEquals(driven.took("stalled", "going-on", "result"), [
    ...["going-on", "send ok", "send ok"],
  ]);
  driven.pass(60_000);
  assertEquals(driven.took("stalled", "going-on"), []);
});

Deno.test("chat core: a server that does not answer is told of, and why once it says so", () => {
  const driven = new Driven().ready();
  driven.step({ kind: "command", command: LIST });
  driven.pass(1_999);
  assertEquals(driven.took("stalled"), []);
  driven.pass(1);
  driven.error("list", "timeout", { text: "behind", retryMs: 200 });
  driven.pass(200);
  assertEquals(driven.took("stalled"), ["stalled timeout"]);
  driven.error("list", "no-primary", { retryMs: 200 });
  driven.pass(200);
  assertEquals(driven.took("stalled"), ["stalled no-primary"]);
  driven.ok("list", { index: 10, ...listed(7) });
  assertEquals(driven.took("going-on", "listed"), ["going-on", "listed"]);
});

Deno.test("chat core: a stall asks to be woken for it, and what goes through in time is none", () => {
  const driven = new Driven().ready();
  driven.send("a").send("b");
  const wakes = driven.effects.filter(({ kind }) => kind === "wake");
  assertEquals(wakes, [{ kind: "wake", afterMs: 2_000 }]);
  driven.pass(1_500);
  driven.ok("send", { seq: 1, n: 11 });
  driven.pass(1_500);
  driven.ok("send", { seq: 2, n: 12 });
  assertEquals(driven.took("stalled", "going-on"), []);
});

Deno.test("chat core: while no server is reached a stall is no news, and after that time counts anew", () => {
  const driven = new Driven().ready();
  driven.send("a").pass(1_000).lose().pass(5_000);
  driven.step({ kind: "connected" });
  driven.ok("resume", { user: "ann", index: 12 }).pass(1_999);
  assertEquals(driven.took("stalled"), []);
  driven.pass(1);
  assertEquals(driven.took("stalled"), ["stalled timeout"]);
});

Deno.test("chat core: a view that is about votes alone is told from one that people notice", () => {
  const driven = new Driven().ready();
  const says = (counter: number, reason: string, leader = "c") => {
    driven.says({ type: "view", ...view(counter, { reason, leader }) });
    const [effect] = driven.effects.splice(0);
    return effect.kind === "view" ? effect.news : effect.kind;
  };
  assertEquals(says(1, "a heard of no group and founded one"), "first");
  assertEquals(says(2, "b joined"), "news");
  assertEquals(says(3, "b votes"), "votes");
  assertEquals(says(4, "b votes (settled)"), "votes");
  assertEquals(says(5, "d has left for good and votes no more"), "news");
  assertEquals(
    says(6, "d has left for good and votes no more (settled)"),
    "votes",
  );
  assertEquals(says(7, "a ballot came to nothing"), "votes");
  assertEquals(says(8, "c hands over to d", "d"), "news");
  // The view before it was missed.
  assertEquals(
    says(10, "e is forgotten (dead for 9 s) (settled)", "d"),
    "news",
  );
  assertEquals(says(11, "f votes", "f"), "news");
});

import { assert, assertEquals } from "@std/assert";
import type {
  MeshChatEffect,
  MeshChatInput,
  MeshCommand,
} from "../../clients/mesh_chat_contract.ts";
import { MeshChatCore } from "../../clients/mesh_chat_core.ts";
import type { Address } from "../../protocol/address.ts";
import type { WireCode } from "../../protocol/errors.ts";
import type { ListedServer, MeshStatus } from "../../protocol/mesh.ts";
import { readMeshAnswer } from "../../protocol/mesh_answers.ts";

function server(host: string): Address {
  return { host, port: 5001 };
}

function status(id: string, words: Partial<MeshStatus> = {}): MeshStatus {
  return {
    ...{ service: "mesh", server: id, cluster: "skein", clients: 0 },
    ...{ draining: false, topology: "mesh", servers: [], ...words },
  };
}

/** A core, and servers that say what the test says. */
class Driven {
  readonly core: MeshChatCore;
  nowMs = 0;
  effects: MeshChatEffect[] = [];
  requests: Record<string, unknown>[] = [];

  constructor(...hosts: string[]) {
    // The epoch is when the test begins.
    const clock = { epochMs: 0, readTime: (text: string) => Date.parse(text) };
    this.core = new MeshChatCore({ targets: hosts.map(server), clock });
  }

  step(input: MeshChatInput): this {
    for (const effect of this.core.step(input, this.nowMs)) {
      if (effect.kind !== "write") {
        this.effects.push(effect);
        continue;
      }
      const lines = effect.lines.split("\n").slice(0, -1);
      this.requests.push(...lines.map((line) => JSON.parse(line)));
    }
    return this;
  }

  says(answer: Record<string, unknown>): this {
    const read = readMeshAnswer(JSON.stringify(answer));
    assert(read !== undefined);
    return this.step({ kind: "answer", answer: read });
  }

  /** Answers the oldest request of that type. */
  answers(type: string, answer: Record<string, unknown>): this {
    const at = this.requests.findIndex((request) => request.type === type);
    assert(at >= 0, `no "${type}" among ${JSON.stringify(this.requests)}`);
    const [{ id }] = this.requests.splice(at, 1);
    return this.says({ ...answer, id });
  }

  refuses(type: string, code: WireCode): this {
    return this.answers(type, { type: "error", code, text: code });
  }

  welcomes(name = "ann", id = "A", words: Partial<MeshStatus> = {}): this {
    this.answers("status", { type: "status", ...status(id, words) });
    return this.answers("login", {
      ...{ type: "system", text: "", code: "welcome", name, server: id },
    });
  }

  /** Logged in at the only server. */
  ready(words: Partial<MeshStatus> = {}): this {
    this.step({ kind: "login", user: "ann" }).step({ kind: "connected" });
    this.welcomes("ann", "A", words);
    this.effects = [];
    return this;
  }

  command(command: MeshCommand): this {
    return this.step({ kind: "command", command });
  }

  say(text: string): this {
    return this.command({ kind: "say", text, isLocal: false, line: 1 });
  }

  pass(ms: number): this {
    this.nowMs += ms;
    return this.step({ kind: "wake" });
  }

  lose(): this {
    this.requests = [];
    const problem = { code: "link-lost", text: "lost" } as const;
    return this.step({ kind: "link-down", problem });
  }

  /** These servers answer how they are. */
  asked(dice: number, ...servers: [string, Partial<MeshStatus>][]): this {
    const answered = servers.map(([host, words]) => ({
      address: server(host),
      status: status(host, words),
    }));
    return this.step({ kind: "asked", servers: answered, dice });
  }

  /** Effects of note since the last time, in a few words each. */
  took(): string[] {
    const effects = this.effects;
    this.effects = [];
    return effects.flatMap((effect) => {
      switch (effect.kind) {
        case "ask": {
          const hosts = effect.addresses.map(({ host }) => host).join(" ");
          return [`ask ${hosts} ${effect.attempt}`];
        }
        case "dial":
          return [`dial ${effect.address.host}`];
        case "ready":
          return [`${effect.again ? "again" : "ready"} ${effect.user}`];
        case "result":
          return [`${effect.command.kind} ${effect.result.kind}`];
        case "refused":
        case "trouble":
          return [`${effect.kind} ${effect.problem.code}`];
        case "done":
          return [`done ${effect.problem?.code ?? ""}`.trim()];
        case "renamed":
          return [`renamed ${effect.user}`];
        case "heard":
          return [`heard ${effect.answer.type}`];
        case "moved": {
          const { was, server, gapMs, late, isWhole } = effect;
          const texts = late.map(({ text }) => text).join(" ");
          return [
            `moved ${was}-${server} ${gapMs} ${
              isWhole ? "whole" : "not whole"
            }: ${texts}`,
          ];
        }
        case "close":
          return ["close"];
        case "wake":
        case "want-input":
        case "write":
          return [];
      }
    });
  }

  get types(): unknown[] {
    return this.requests.map(({ type }) => type);
  }
}

function other(id: string, words: Partial<ListedServer> = {}): ListedServer {
  return {
    ...{ id, up: true, clients: 0, draining: false, address: `${id}:5001` },
    ...words,
  };
}

Deno.test("mesh chat core: the only server is dialled at once, and asked for others and a login", () => {
  const driven = new Driven("a").step({ kind: "login", user: "ann" });
  assertEquals(driven.took(), ["dial a"]);
  driven.step({ kind: "connected" });
  assertEquals(driven.types, ["status", "login"]);
  assertEquals(driven.welcomes().took(), ["ready ann"]);
});

Deno.test("mesh chat core: of several the least loaded that takes clients, of equals whichever the dice say", () => {
  const first = (dice: number) => {
    const driven = new Driven("a", "b", "c", "d");
    assertEquals(driven.step({ kind: "login", user: "ann" }).took(), [
      "ask a b c d 0",
    ]);
    return driven.asked(
      dice,
      ["a", { clients: 2 }],
      ["b", { clients: 1 }],
      ["c", { clients: 1 }],
      ["d", { draining: true }],
    );
  };
  assertEquals(first(0).took(), ["dial b"]);
  const last = first(0.99);
  assertEquals(last.took(), ["dial c"]);
  const problem = { code: "link-lost", text: "refused" } as const;
  last.step({ kind: "unreachable", problem });
  assertEquals(last.took(), ["trouble link-lost", "dial b"]);
  last.step({ kind: "unreachable", problem });
  assertEquals(last.took(), ["trouble link-lost", "dial a"]);
  last.step({ kind: "unreachable", problem });
  assertEquals(last.took(), ["trouble link-lost", "ask a b c d 1"]);
  assertEquals(last.asked(0, ["d", { draining: true }]).took(), [
    "trouble draining",
    "ask a b c d 2",
  ]);
});

Deno.test("mesh chat core: those who have lost a server spread over all that have nearly as few", () => {
  const chosen = (dice: number) => {
    const driven = new Driven("a").ready({ servers: [other("b"), other("c")] });
    driven.lose().took();
    driven.asked(dice, ["b", { clients: 90 }], ["c", { clients: 100 }]);
    return driven.took();
  };
  assertEquals([chosen(0), chosen(0.6)], [["dial b"], ["dial c"]]);
});

Deno.test("mesh chat core: a message of which nobody knows is told and not repeated; what waits and what only asks goes again", () => {
  const driven = new Driven("a").ready();
  driven.say("one").command({ kind: "who" });
  driven.requests = [];
  driven.lose().say("two");
  assertEquals(driven.took(), ["say unknown", "trouble link-lost", "ask a 1"]);
  driven.asked(0, ["a", {}]).step({ kind: "connected" }).welcomes();
  assertEquals(driven.types, ["who", "msg"]);
  assertEquals(driven.requests[1].text, "two");
  driven.answers("msg", { type: "ok", n: 1 });
  assertEquals(driven.took(), ["dial a", "again ann", "say ok"]);
  // Whoever wants to go does not wait for what others said meanwhile.
  driven.answers("who", { type: "who", users: [], total: 0 });
  assertEquals(driven.step({ kind: "end" }).took(), [
    ...["who answered", "moved A-A 0 not whole: "],
  ]);
});

Deno.test("mesh chat core: rooms are joined again, but for those that were left", () => {
  const driven = new Driven("a").ready();
  for (const room of ["x", "y"]) {
    driven.command({ kind: "join", room }).answers("join", { type: "ok" });
  }
  driven.command({ kind: "leave", room: "x" }).answers("leave", { type: "ok" });
  driven.command({ kind: "join", room: "z" }).refuses("join", "too-large");
  driven.lose().asked(0, ["a", {}]).step({ kind: "connected" }).welcomes();
  assertEquals(driven.requests.map(({ room }) => room), ["y"]);
});

Deno.test("mesh chat core: at first a taken name is refused; later its own is asked for again, for a while", () => {
  const fresh = new Driven("a").step({ kind: "login", user: "ann" });
  fresh.step({ kind: "connected" }).took();
  assertEquals(fresh.refuses("login", "name-taken").took(), [
    "refused name-taken",
  ]);
  fresh.step({ kind: "login", user: "bob" });
  assertEquals(fresh.requests.at(-1)?.username, "bob");

  const known = new Driven("a").ready().lose().asked(0, ["a", {}]);
  known.step({ kind: "connected" }).took();
  let refusals = 0;
  for (; known.took().join() !== "refused name-taken"; refusals++) {
    known.refuses("login", "name-taken").pass(500);
  }
  assertEquals(refusals, 21);
});

Deno.test("mesh chat core: a full or emptied server is left for another, which it names before", () => {
  const driven = new Driven("a").step({ kind: "login", user: "ann" });
  driven.step({ kind: "connected" }).took();
  const words = { servers: [other("b"), other("c", { up: false })] };
  driven.answers("status", { type: "status", ...status("A", words) });
  assertEquals(driven.refuses("login", "draining").took(), [
    "close",
    "trouble draining",
    "ask a b 1",
  ]);
});

Deno.test("mesh chat core: a move waits for what was sent, says goodbye, and takes what is typed along", () => {
  const driven = new Driven("a").ready().say("one");
  driven.says({ type: "system", text: "go", code: "move", to: ["b:5001"] });
  driven.say("two");
  assertEquals(driven.types, ["msg"]);
  driven.answers("msg", { type: "ok", n: 1 });
  assertEquals(driven.types, ["quit"]);
  driven.lose();
  assertEquals(driven.took(), ["heard system", "say ok", "ask a b 1"]);
  driven.asked(0, ["b", {}]).step({ kind: "connected" }).welcomes("ann", "B");
  assertEquals(driven.requests.map(({ text }) => text), ["two"]);
});

Deno.test("mesh chat core: a server that neither answers nor hangs up is not waited for when moving", () => {
  const driven = new Driven("a").ready().say("one");
  driven.says({ type: "system", text: "go", code: "move", to: ["b:5001"] });
  driven.pass(1_000).pass(1_000);
  assertEquals(driven.took(), [
    ...["heard system", "close", "say unknown", "ask a b 0"],
  ]);
});

Deno.test("mesh chat core: with nowhere to go it stays", () => {
  const driven = new Driven("a").ready();
  driven.says({ type: "system", text: "go", code: "move", to: [] }).say("one");
  assertEquals(driven.types, ["msg"]);
});

Deno.test("mesh chat core: a new name that a server gives is kept at the next", () => {
  const driven = new Driven("a").ready();
  const name = "ann-A";
  driven.says({
    ...{ type: "system", text: "", code: "renamed", was: "ann" },
    name,
  });
  assertEquals(driven.took(), ["heard system", `renamed ${name}`]);
  driven.lose().asked(0, ["a", {}]).step({ kind: "connected" });
  assertEquals(driven.requests.at(-1)?.username, name);
});

Deno.test("mesh chat core: a silent server is asked, then left; one that waits for its log is given longer", () => {
  const driven = new Driven("a").ready();
  driven.pass(5_000);
  assertEquals(driven.types, ["ping"]);
  driven.pass(5_000);
  assertEquals(driven.took(), ["close", "trouble timeout", "ask a 0"]);

  const waiting = new Driven("a").ready();
  waiting.says({ type: "system", text: "", code: "waiting" }).say("one");
  for (let i = 0; i < 11; i++) waiting.pass(5_000);
  assertEquals(waiting.took(), ["heard system"]);
  waiting.pass(5_000);
  assertEquals(waiting.took()[0], "close");
});

Deno.test("mesh chat core: it ends once all is known, and says goodbye", () => {
  const driven = new Driven("a").ready().say("one").step({ kind: "end" });
  assertEquals(driven.types, ["msg"]);
  driven.answers("msg", { type: "ok", n: 1 });
  assertEquals(driven.types, ["quit"]);
  assertEquals(driven.lose().took(), ["say ok", "done"]);

  const silent = new Driven("a").ready().step({ kind: "end" });
  assertEquals(silent.pass(1_000).took(), ["close", "done"]);
});

Deno.test("mesh chat core: whoever may not come in anywhere is told at once", () => {
  const driven = new Driven("a").step({ kind: "login", user: "ann" });
  driven.step({ kind: "connected" }).took();
  driven.says({ type: "error", code: "not-private", text: "no" });
  assertEquals(driven.took(), ["close", "done not-private"]);
});

Deno.test("mesh chat core: a server that throws out at once is not asked in a tight loop", () => {
  const driven = new Driven("a").ready();
  const attempts: string[] = [];
  for (let i = 0; i < 4; i++) {
    driven.lose();
    attempts.push(driven.took().at(-1) ?? "");
    driven.asked(0, ["a", {}]).step({ kind: "connected" }).welcomes();
    driven.took();
  }
  assertEquals(attempts, ["ask a 1", "ask a 2", "ask a 3", "ask a 4"]);
  driven.pass(1_000).lose();
  assertEquals(driven.took().at(-1), "ask a 0");
});

Deno.test("mesh chat core: beyond its bound of lines it wants no more, and says so to whoever asks", () => {
  const driven = new Driven("a").ready().lose();
  const wants = () => {
    driven.effects = [];
    driven.step({ kind: "more" });
    return driven.effects.some(({ kind }) => kind === "want-input");
  };
  for (let i = 0; i < 1_023; i++) driven.say("x");
  assertEquals([wants(), driven.core.hasRoom], [true, true]);
  driven.say("x").say("the rest of a block");
  assertEquals([wants(), driven.core.hasRoom], [false, false]);
  driven.asked(0, ["a", {}]).step({ kind: "connected" }).welcomes();
  assertEquals(driven.types.length, 64);
  driven.answers("msg", { type: "ok" }).answers("msg", { type: "ok" });
  assertEquals([wants(), driven.core.openCount], [true, 1_023]);
});

/** A message of Eve at C, live and in the log. */
function eve(at: number, text: string) {
  const said = { from: "Eve", server: "C", text };
  const time = new Date(at).toISOString();
  return {
    live: { type: "msg", ...said, time: at, n: at },
    line: { seq: at, ...said, time },
  };
}

/** Lost at 5 s, and 200 ms later at b. */
function lostAndBack(): Driven {
  const driven = new Driven("a").ready().pass(4_000);
  driven.says(eve(3_990, "one").live).took();
  driven.pass(1_000).lose().pass(200);
  driven.asked(0, ["b", {}]).step({ kind: "connected" }).welcomes("ann", "B");
  driven.took();
  driven.requests = [];
  return driven;
}

Deno.test("mesh chat core: after a break what others said meanwhile comes before what they say now", () => {
  const driven = lostAndBack().says(eve(5_210, "three").live);
  assertEquals(driven.pass(250).types, ["history"]);
  const messages = [eve(3_990, "one"), eve(5_100, "two"), eve(5_210, "three")]
    .map(({ line }) => line);
  assertEquals(driven.took(), []);
  driven.answers("history", { type: "history", messages, more: false });
  assertEquals(driven.took(), ["moved A-B 200 whole: two", "heard msg"]);
  assertEquals(driven.says(eve(5_220, "four").live).took(), ["heard msg"]);
});

Deno.test("mesh chat core: what was held back is shown all the same when the log is silent, or the link breaks again", () => {
  const silent = lostAndBack().says(eve(5_210, "three").live).pass(250);
  assertEquals(silent.pass(1_749).took(), []);
  const told = ["moved A-B 200 not whole: ", "heard msg"];
  assertEquals(silent.pass(1).took(), told);
  const broken = lostAndBack().says(eve(5_210, "three").live).lose();
  assertEquals(broken.took().slice(0, 2), told);
});

Deno.test("mesh chat core: a server of a chat group is told from one of a mesh", () => {
  const driven = new Driven("a").step({ kind: "login", user: "ann" });
  driven.step({ kind: "connected" }).took();
  driven.answers("status", { type: "ok" });
  assertEquals(driven.took(), ["close", "done role-mismatch"]);
});

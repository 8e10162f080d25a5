import { assertEquals } from "@std/assert";
import { Introduction } from "../../../../nodes/chat/group/introduction.ts";
import type { NodeKind, View } from "../../../../protocol/view.ts";
import { SILENT } from "../service/service_fixture.ts";

const SETTINGS = {
  id: "lab3-5fb9",
  isNamed: false,
  data: "data/lab3-5fb9",
  discover: { kind: "dns", name: "chat.lab", port: 8081 },
} as const;

/** A view of voters that are `s`ervers and `w`itnesses. */
function viewOf(voters: string, previousVoters?: string[]): View {
  const kinds = [...voters].map((letter): NodeKind =>
    letter === "s" ? "server" : "witness"
  );
  const nodes = Object.fromEntries(
    kinds.map((kind, at) =>
      [`${at}`.padStart(16, "0"), {
        id: `node-${at}`,
        kind,
        priority: 0,
      }] as const
    ),
  );
  const [primary] = Object.keys(nodes);
  return {
    epoch: { counter: 1, store: primary },
    group: primary,
    voters: Object.keys(nodes),
    members: [primary],
    primary,
    nodes,
    reason: "a test",
    previousVoters,
  };
}

function introduce(changes: Partial<
  ConstructorParameters<
    typeof Introduction
  >[0]
> = {}) {
  const lines: string[] = [];
  const log = { ...SILENT, info: (text: string) => lines.push(text) };
  return {
    lines,
    introduction: new Introduction({ ...SETTINGS, ...changes }, log),
  };
}

Deno.test("introduction: a node without a name says what it is called, and what it looks for", () => {
  const { lines, introduction } = introduce();
  introduction.start(undefined);
  introduction.start("00c0ffee00c0ffee");
  const isCalled = 'This is "lab3-5fb9", data in data/lab3-5fb9';
  const how = 'with "--discover dns:chat.lab:8081"';
  assertEquals(lines, [
    isCalled,
    `No group is configured: looking for one ${how}`,
    isCalled,
    `Its group is 00c0ffee00c0ffee: looking for it ${how}`,
  ]);
});

Deno.test("introduction: what is configured is not told", () => {
  const named = introduce({ isNamed: true, discover: undefined });
  named.introduction.start(undefined);
  named.introduction.viewChanged(viewOf("sss"));
  assertEquals(named.lines, []);
});

Deno.test("introduction: what the group survives is told when its voters have settled", () => {
  const { lines, introduction } = introduce();
  introduction.viewChanged(undefined);
  introduction.viewChanged(viewOf("s"));
  introduction.viewChanged(viewOf("ss", ["0000000000000000"]));
  introduction.viewChanged(viewOf("sss"));
  introduction.viewChanged(undefined);
  introduction.viewChanged(viewOf("sss"));
  introduction.viewChanged(viewOf("sssw"));
  assertEquals(lines.map((line) => line.split(";")[0]), [
    "1 voter: survives no loss",
    "3 voters: survives 1 loss",
    "4 voters (3 servers, 1 witness): survives any 1",
  ]);
});

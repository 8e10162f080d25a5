import { assertEquals } from "@std/assert";
import {
  type GroupNode,
  remarksOn,
} from "../../../../nodes/chat/group/group.ts";

function group(servers: number, witnesses: number): GroupNode[] {
  const nodes = (kind: "server" | "witness", count: number) =>
    Array.from({ length: count }, (_, index) => ({
      ...{ id: `${kind}-${index + 1}`, kind },
      address: { host: `${kind}${index}`, port: 1 },
    }));
  return [...nodes("server", servers), ...nodes("witness", witnesses)];
}

Deno.test("group: what it survives, and what would make it survive more", () => {
  for (
    const [servers, witnesses, survival] of [
      [
        1,
        0,
        "1 voter: survives no loss; add a server and a witness to survive 1",
      ],
      [
        1,
        1,
        "2 voters (1 server, 1 witness): survives no loss; add a server to survive 1",
      ],
      [
        1,
        2,
        "3 voters (1 server, 2 witnesses): does not survive the loss of its only server; add a server to survive 1",
      ],
      [2, 0, "2 voters: survives no loss; add 1 witness to survive 1"],
      [2, 1, "3 voters (2 servers, 1 witness): survives any 1"],
      [3, 0, "3 voters: survives 1 loss; add 2 witnesses to survive 2"],
      [
        3,
        1,
        "4 voters (3 servers, 1 witness): survives any 1; add 1 witness to survive 2",
      ],
      [3, 2, "5 voters (3 servers, 2 witnesses): survives any 2"],
      [3, 3, "6 voters (3 servers, 3 witnesses): survives any 2"],
      [5, 0, "5 voters: survives 2 losses; add 4 witnesses to survive 4"],
    ] as const
  ) assertEquals(remarksOn(group(servers, witnesses)).survival, survival);
});

Deno.test("group: an even number of voters is warned of", () => {
  for (
    const [servers, witnesses, warnings] of [
      [1, 0, []],
      [3, 2, []],
      [1, 1, [
        "2 voters are an even number: with one witness less the group would survive as many losses",
      ]],
      [2, 0, [
        "2 voters are an even number: with one witness more the group would survive 1 loss",
      ]],
      [3, 1, [
        "4 voters are an even number: with one witness more the group would survive 2 losses",
      ]],
      [3, 3, [
        "6 voters are an even number: with one witness less the group would survive as many losses",
      ]],
    ] as const
  ) assertEquals(remarksOn(group(servers, witnesses)).warnings, warnings);
});

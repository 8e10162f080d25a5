import { assertEquals } from "@std/assert";
import type { ChatMessage } from "../../../protocol/chat.ts";
import { faultsOf, type Sent } from "./load_check.ts";

const SENT: readonly Sent[] = [
  { from: "a", to: "b", text: "a 1..", sequence: 1, n: 5 },
  { from: "a", to: "b", text: "a 2..", sequence: 2, n: 7 },
  { from: "b", to: "a", text: "b 1..", sequence: 1, n: 6 },
  { from: "b", to: "a", text: "b 2..", sequence: 2, n: undefined },
];

function message(n: number, name: string, to = "b"): ChatMessage {
  return { n, from: name[0], to, text: `${name}..`, time: 0 };
}

const TO_A = [message(6, "b 1", "a")];
const TO_B = [message(5, "a 1"), message(7, "a 2")];

const CASES: readonly {
  readonly what: string;
  readonly a?: readonly ChatMessage[];
  readonly b?: readonly ChatMessage[];
  readonly faults: readonly string[];
}[] = [
  { what: "all is well", faults: [] },
  {
    what: "what was not answered may be there",
    a: [...TO_A, message(9, "b 2", "a")],
    faults: [],
  },
  {
    what: "an answered message is lost",
    b: [message(5, "a 1")],
    faults: ['"a 2" at 7 is lost'],
  },
  {
    what: "a message is there twice",
    a: [...TO_A, message(8, "b 2", "a"), message(9, "b 2", "a")],
    faults: [
      '"b 2" at 9 is there twice',
      '"b 2" at 9 was overtaken by "b 2"',
    ],
  },
  {
    what: "a message has another number than was answered",
    b: [message(5, "a 1"), message(8, "a 2")],
    faults: ['"a 2" at 8 was answered as 7'],
  },
  {
    what: "a message that nobody sent",
    b: [...TO_B, message(9, "c 1")],
    faults: ['"c 1.." at 9 was never sent'],
  },
  {
    what: "a message is with somebody else",
    a: [...TO_A, message(7, "a 2")],
    b: [message(5, "a 1")],
    faults: ['"a 2" at 7 is of a to b, found with a'],
  },
  {
    what: "one number for two messages",
    a: [message(5, "b 1", "a")],
    faults: [
      '"b 1" at 5 was answered as 6',
      '"a 1" at 5 is "b 1" as well',
    ],
  },
  {
    what: "a session's messages in another order",
    b: [
      { ...message(5, "a 2"), n: 5 },
      { ...message(7, "a 1"), n: 7 },
    ],
    faults: [
      '"a 2" at 5 was answered as 7',
      '"a 1" at 7 was answered as 5',
      '"a 1" at 7 was overtaken by "a 2"',
    ],
  },
];

for (const { what, a = TO_A, b = TO_B, faults } of CASES) {
  Deno.test(`chat load: what is found when ${what}`, () => {
    const found = faultsOf(SENT, new Map([["a", a], ["b", b]]));
    assertEquals(found, faults.map((fault) => fault.replace('.."', '"')));
  });
}

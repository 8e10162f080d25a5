/** Contract of the reader and writer of MessagePack. */

import { assertEquals, assertThrows } from "@std/assert";
import { pack, unpack } from "./message_pack.ts";

/** What an agent says, from the specification: bytes and what they mean. */
const SAID: readonly (readonly [readonly number[], unknown])[] = [
  [[0x00], 0],
  [[0x7f], 127],
  [[0xff], -1],
  [[0xe0], -32],
  [[0xc0], null],
  [[0xc2], false],
  [[0xc3], true],
  [[0xcc, 0xff], 255],
  [[0xcd, 0x1e, 0xe2], 7_906],
  [[0xce, 0xff, 0xff, 0xff, 0xff], 4_294_967_295],
  [[0xa0], ""],
  [[0xa3, 0x61, 0xc3, 0xa4], "aä"],
  [[0xd9, 0x01, 0x62], "b"],
  [[0xda, 0x00, 0x01, 0x62], "b"],
  [[0xdb, 0x00, 0x00, 0x00, 0x01, 0x62], "b"],
  [[0xc4, 0x01, 0x63], "c"],
  [[0xc5, 0x00, 0x01, 0x63], "c"],
  [[0xc6, 0x00, 0x00, 0x00, 0x01, 0x63], "c"],
  [[0x92, 0x01, 0x91, 0x02], [1, [2]]],
  [[0xdc, 0x00, 0x01, 0x01], [1]],
  [[0xdd, 0x00, 0x00, 0x00, 0x01, 0x01], [1]],
  [[0x81, 0xa1, 0x61, 0x90], { a: [] }],
  [[0xde, 0x00, 0x01, 0xa1, 0x61, 0x01], { a: 1 }],
  [[0xdf, 0x00, 0x00, 0x00, 0x01, 0xa1, 0x61, 0x01], { a: 1 }],
];

Deno.test("message pack: each kind is read, also with more behind it, and not before it is whole", () => {
  for (const [said, value] of SAID) {
    const bytes = new Uint8Array([0x2a, ...said, 0x2a]);
    const end = said.length + 1;
    assertEquals(unpack(bytes, 1), { value, end });
    assertEquals(unpack(bytes.subarray(1, end), 0), { value, end: end - 1 });
    for (let cut = 1; cut < end; cut += 1) {
      assertEquals(unpack(bytes.subarray(0, cut), 1), undefined);
    }
  }
});

Deno.test("message pack: what is written is read again", () => {
  const fields = {
    Command: "members",
    Seq: 0,
    "": 127,
    more: 128,
    most: 2 ** 32 - 1,
  };
  const bytes = pack(fields);
  assertEquals(unpack(bytes, 0), { value: fields, end: bytes.length });
});

Deno.test("message pack: more than an agent is told is refused, as is what it never says", () => {
  const many = Array.from({ length: 16 }, (_, at) => [`${at}`, at]);
  const wrong = [
    Object.fromEntries(many),
    { a: "x".repeat(32) },
    { a: -1 },
    { a: 0.5 },
    { a: 2 ** 32 },
  ];
  for (const fields of wrong) assertThrows(() => pack(fields), RangeError);
  for (const kind of [0xc1, 0xca, 0xcf, 0xd4]) {
    assertThrows(() => unpack(new Uint8Array([kind]), 0), RangeError);
  }
});

import { assertEquals } from "@std/assert";
import {
  LINE_CHARACTERS_MAX,
  LineSplitter,
  readableLogLine,
} from "../../deploy/node_output.ts";

const encoder = new TextEncoder();

Deno.test("line splitter: the same lines whole and byte by byte", () => {
  const bytes = encoder.encode("one\n\nzwölf 🧶\r\nrest");
  const wanted = ["one", "", "zwölf 🧶\r", "rest"];
  const whole = new LineSplitter();
  assertEquals([...whole.push(bytes), ...whole.end()], wanted);
  const slow = new LineSplitter();
  const lines = [...bytes].flatMap((byte) => slow.push(Uint8Array.of(byte)));
  assertEquals([...lines, ...slow.end()], wanted);
  assertEquals(slow.end(), []);
});

Deno.test("line splitter: invalid UTF-8 becomes U+FFFD", () => {
  const splitter = new LineSplitter();
  assertEquals(splitter.push(Uint8Array.of(0x61, 0xff, 0x0a)), ["a\ufffd"]);
  splitter.push(Uint8Array.of(0xf0, 0x9f));
  assertEquals(splitter.end(), ["\ufffd"]);
});

Deno.test("line splitter: an over-long line is cut, newline or not", () => {
  const long = "x".repeat(2 * LINE_CHARACTERS_MAX + 5);
  const piece = "x".repeat(LINE_CHARACTERS_MAX) + "…";
  const splitter = new LineSplitter();
  assertEquals(splitter.push(encoder.encode(`${long}\nnext`)), [
    piece,
    piece,
    "xxxxx",
  ]);
  assertEquals(splitter.push(encoder.encode(long)), [
    "next" + piece.slice(4),
    piece,
  ]);
  assertEquals(splitter.end(), ["x".repeat(9)]);
});

Deno.test("log lines: JSON becomes readable, the rest stays, nothing breaks out", () => {
  const clock = (iso: string) => {
    const date = new Date(iso);
    const two = (value: number) => String(value).padStart(2, "0");
    return `${two(date.getHours())}:${two(date.getMinutes())}:${
      two(date.getSeconds())
    }`;
  };
  const time = "2026-11-20T15:57:12.091Z";
  const table: [line: string, shown: string][] = [
    ["", ""],
    ["plain words", "plain words"],
    ['{"half":', '{"half":'],
    ["[1]", "[1]"],
    ['{"no":"message"}', '{"no":"message"}'],
    ['{"message":7}', '{"message":7}'],
    ['{"message":"only"}', "only"],
    ['{"time":"never","message":"m"}', "m"],
    [
      `{"time":"${time}","level":"info","node":"server0","message":"Listening","port":3525,"text":"a b","next":"h:1","none":null}`,
      `${
        clock(time)
      }.091 INFO  Listening port=3525 text="a b" next=h:1 none=null`,
    ],
    // Messages that would like to be another node's line.
    ["a\rserver3 | b\x1b[2J", "a\\rserver3 | b\\x1b[2J"],
    ['{"message":"a\\nserver3 | b"}', "a\\nserver3 | b"],
    ['{"message":"m","text":"\\u202eb"}', "m text=\\u202eb"],
    ['{"message":"m","a\\nb":"c"}', "m a\\nb=c"],
  ];
  for (const [line, shown] of table) {
    assertEquals(readableLogLine(line), shown, line);
  }
});

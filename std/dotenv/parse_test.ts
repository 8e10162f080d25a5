import { assertEquals } from "@std/assert";
import { parse as parseOfAll } from "@std/dotenv";
import { parse } from "@std/dotenv/parse";

/** Texts both this and the real package read alike. */
const CASES: Record<string, [string, Record<string, string>]> = {
  "nothing": ["", {}],
  "no values": ["\n  \ntext\n", {}],
  "bare values, trimmed": ["A=1\n  B = x y \nC=\t2", {
    A: "1",
    B: "x y",
    C: "2",
  }],
  "an = in a value": ["A=b=c==", { A: "b=c==" }],
  "empty values": ["A=\nB= \nC=\"\"\nD=''\nexport E=\nF=", {
    A: "",
    B: "",
    C: "",
    D: "",
    E: "",
    F: "",
  }],
  "comments": ["# A=1\n  # B='\nC=1 # c\nD=1#d\nE= # e\nF='#1' # f's", {
    C: "1",
    D: "1",
    E: "",
    F: "#1",
  }],
  "export": ["export A=1\nexport  B='2'", { A: "1", B: "2" }],
  "quotes, kept inside each other": [
    `A='"1" '\nB=" it's "\nC=it's\nD={"a":"b"}`,
    { A: '"1" ', B: " it's ", C: "it's", D: '{"a":"b"}' },
  ],
  "escapes in double quotes only": [
    `A="1\\n2\\r3\\t4\\5"\nB='1\\n2'\nC=1\\n2`,
    { A: "1\n2\r3\t4\\5", B: "1\\n2", C: "1\\n2" },
  ],
  "several lines in quotes": [
    "A='-----BEGIN\nabc=\n # b=\n\n-----END'\nB=\"1\r\n2\" # c\nC=3",
    { A: "-----BEGIN\nabc=\n # b=\n\n-----END", B: "1\r\n2", C: "3" },
  ],
  "one line break less next to a quote": [
    "A='\n1\n'\nB=\"\n\n2\r\n\"",
    { A: "1", B: "\n2" },
  ],
  "nothing after a quote": [`A="1"2"3\nB='4'5`, { A: "1", B: "4" }],
  "a quote that is not closed": [`A="1 # c\nB='2`, { A: '"1', B: "'2" }],
  "backticks as letters": ["A=`1`", { A: "`1`" }],
  "a $ in quotes": [`A='$B'\nC="\${B}"`, { A: "$B", C: "${B}" }],
  "the later of two": ["A=1\nA=2", { A: "2" }],
  "lines ended by \\r\\n": [`A=1\r\nB="2"\r\nC=\r\nD=3\r\n`, {
    A: "1",
    B: "2",
    C: "",
    D: "3",
  }],
  "a byte order mark": ["\uFEFFA=1", { A: "1" }],
};

for (const [name, [text, values]] of Object.entries(CASES)) {
  Deno.test(`parse: reads ${name}`, () => assertEquals(parse(text), values));
}

Deno.test("parse: warns of names no shell takes, and drops them", () => {
  const warned: string[] = [];
  const { warn } = console;
  console.warn = (text: string) => warned.push(text);
  try {
    assertEquals(parse("1A=1\nB-C=2\n_D1=3"), { _D1: "3" });
  } finally {
    console.warn = warn;
  }
  assertEquals(warned.map((text) => /"(.*?)"/.exec(text)?.[1]), ["1A", "B-C"]);
});

Deno.test("parse: is exported whole and by itself", () => {
  assertEquals(parseOfAll, parse);
});

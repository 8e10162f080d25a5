import { assertEquals } from "@std/assert";
import { parseArgs as parseArgsOfAll } from "@std/cli";
import { parseArgs } from "@std/cli/parse-args";

Deno.test("parseArgs: is exported whole and by itself", () => {
  assertEquals<unknown>(parseArgsOfAll, parseArgs);
});

Deno.test("parseArgs: takes values after a blank, an = or nothing", () => {
  assertEquals<unknown>(
    parseArgs(["--a", "x", "--b=y=z", "-c", "x", "-d=y", "-e5", "--f"]),
    { _: [], a: "x", b: "y=z", c: "x", d: "y", e: 5, f: true },
  );
});

Deno.test("parseArgs: a text that looks like a flag is no value", () => {
  assertEquals<unknown>(
    parseArgs(["--a", "-b", "--c", "-", "-d", "-"], { string: ["a", "c"] }),
    { _: ["-"], a: "", b: true, c: "", d: "-" },
  );
});

Deno.test("parseArgs: letters can share a hyphen", () => {
  assertEquals<unknown>(parseArgs(["-abc", "x"]), {
    _: [],
    a: true,
    b: true,
    c: "x",
  });
});

Deno.test("parseArgs: no- is part of a name, unless a value follows", () => {
  assertEquals<unknown>(parseArgs(["--no-a", "--no-b=c"]), {
    _: [],
    "no-a": true,
    b: "c",
  });
});

Deno.test("parseArgs: numbers are numbers unless declared as strings", () => {
  assertEquals<unknown>(
    parseArgs(["--a", "1", "--b=1", "2", "0x10", "1e3", "1x", ""], {
      string: ["b"],
    }),
    { _: [2, 16, 1000, "1x", ""], a: 1, b: "1" },
  );
  assertEquals<unknown>(parseArgs(["2"], { string: "_" }), { _: ["2"] });
});

Deno.test("parseArgs: a string without a value is empty, one not given absent", () => {
  assertEquals<unknown>(parseArgs(["--a"], { string: ["a", "b"] }), {
    _: [],
    a: "",
  });
});

Deno.test("parseArgs: a boolean takes no value but true and false", () => {
  const options = { boolean: ["a", "b", "c", "d", "e"] };
  assertEquals<unknown>(
    parseArgs(["--a", "x", "--b", "false", "--c=false", "-d", "true"], options),
    { _: ["x"], a: true, b: false, c: false, d: true, e: false },
  );
});

Deno.test("parseArgs: the last value counts, unless they are collected", () => {
  assertEquals<unknown>(
    parseArgs(["--a=1", "--a=2", "--b=1", "--b=2", "--b"], {
      string: ["b", "c"],
      boolean: ["d"],
      collect: ["b", "c", "d"],
    }),
    { _: [], a: 2, b: ["1", "2", ""], c: [], d: [] },
  );
});

Deno.test("parseArgs: aliases share values, types and defaults", () => {
  assertEquals<unknown>(
    parseArgs(["-p", "80", "-v", "x"], {
      string: ["port", "host"],
      boolean: ["verbose"],
      alias: { port: "p", verbose: ["v", "V"], host: "h" },
      default: { host: "here" },
    }),
    {
      _: ["x"],
      port: "80",
      p: "80",
      verbose: true,
      v: true,
      V: true,
      host: "here",
      h: "here",
    },
  );
});

Deno.test("parseArgs: defaults give way to what is given", () => {
  assertEquals<unknown>(
    parseArgs(["--a=1", "--b"], {
      boolean: ["b", "c"],
      default: { a: 9, b: false, c: true, d: "e" },
    }),
    { _: [], a: 1, b: true, c: true, d: "e" },
  );
});

Deno.test("parseArgs: nothing after -- is read", () => {
  const args = ["-a", "--", "--b", "2", "--", "x"];
  assertEquals<unknown>(parseArgs(args), {
    _: ["--b", "2", "--", "x"],
    a: true,
  });
  assertEquals<unknown>(parseArgs(args, { "--": true }), {
    _: [],
    a: true,
    "--": ["--b", "2", "--", "x"],
  });
  assertEquals<unknown>(parseArgs([], { "--": true }), { _: [], "--": [] });
});

Deno.test("parseArgs: undeclared arguments are told, and left out on false", () => {
  const told: unknown[][] = [];
  const found = parseArgs(["--a=1", "--b=2", "-c", "x", "y"], {
    string: ["a"],
    alias: { c: "C" },
    unknown: (...call) => {
      told.push(call);
      return false;
    },
  });
  assertEquals<unknown>(found, { _: [], a: "1", c: "x", C: "x" });
  assertEquals(told, [["--b=2", "b", "2"], ["y"]]);
});

Deno.test("parseArgs: leaves the arguments as they are", () => {
  const args = ["--a", "1", "--", "x"];
  parseArgs(args, { "--": true });
  assertEquals(args, ["--a", "1", "--", "x"]);
});

Deno.test("parseArgs: types the values by their declarations", () => {
  const found = parseArgs(["--port=1", "--peer=n1", "-v", "x", "--", "y"], {
    "--": true,
    string: ["port", "host", "peer"],
    boolean: ["v"],
    collect: ["peer"],
    default: { host: "here" },
  });
  const port: string | undefined = found.port;
  const host: string = found.host;
  const peers: string[] = found.peer;
  const isVerbose: boolean = found.v;
  const others: (string | number)[] = found._;
  const rest: string[] = found["--"];
  assertEquals<unknown>([port, host, peers, isVerbose, others, rest], [
    "1",
    "here",
    ["n1"],
    true,
    ["x"],
    ["y"],
  ]);
});

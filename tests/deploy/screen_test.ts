import { assertEquals } from "@std/assert";
import { Screen } from "../../deploy/screen.ts";

const NAMES = ["a", "long"];

Deno.test("screen: lines come out whole and in order, each with its source", async () => {
  const written: string[] = [];
  const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const screen = new Screen({
    names: NAMES,
    colours: false,
    sink: async (bytes) => {
      await gates[written.length].promise;
      written.push(new TextDecoder().decode(bytes));
    },
  });
  const first = screen.print([{ from: "a", text: "1" }, {
    from: "a",
    text: "2",
  }]);
  const second = screen.print([{ from: "long", text: "3" }, { text: "mine" }]);
  gates[1].resolve();
  assertEquals(written, [], "the second waits for the first");
  gates[0].resolve();
  await Promise.all([first, second]);
  assertEquals(written, ["a    | 1\na    | 2\n", "long | 3\nmine\n"]);
});

Deno.test("screen: colours only the prefix", async () => {
  let text = "";
  const screen = new Screen({
    names: NAMES,
    colours: true,
    sink: (bytes) => {
      text += new TextDecoder().decode(bytes);
      return Promise.resolve();
    },
  });
  await screen.print([{ from: "long", text: "x" }]);
  await screen.say("mine");
  assertEquals(text, "\x1b[33mlong |\x1b[0m x\nmine\n");
});

Deno.test("screen: says when nobody reads, and takes no more", async () => {
  let writes = 0;
  const cause = new Error("gone");
  const screen = new Screen({
    names: NAMES,
    colours: false,
    sink: () => {
      writes += 1;
      return Promise.reject(cause);
    },
  });
  await screen.say("one");
  assertEquals(await screen.broken, cause);
  await screen.say("two");
  assertEquals(writes, 1);
});

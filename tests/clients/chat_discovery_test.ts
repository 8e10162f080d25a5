import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { namespaceTests } from "../namespace.ts";
import { LiveGroup } from "../nodes/chat/service/live_service.ts";
import { canned } from "../nodes/chat/canned_status.ts";
import { writable } from "../nodes/chat/service/service_fixture.ts";
import { program } from "../process/program.ts";
import { RunningProcess } from "../process/running_process.ts";
import { AdvertisedServer } from "./advertised_server.ts";
import { Terminal, terminalTest } from "./terminal.ts";

const PASSWORD = "correct horse";
const KEY = "0123456789abcdef";
const GROUP = { id: "1111111111111111", leader: "a" } as const;
const CTRL_C = "\x03";
const CTRL_D = "\x04";

const command = (...args: string[]) => [...program("skein"), "chat", ...args];
const encode = (text: string) => new TextEncoder().encode(text);

/** `skein chat` without a terminal, and without `-c`. */
function piped(
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): RunningProcess {
  return new RunningProcess({
    name: "skein chat",
    command: command(...args),
    folder: "/",
    environment: { SKEIN_PASSWORD: PASSWORD, ...environment },
  });
}

/** What a run with this input shows, and its exit code. */
async function chat(
  input: string,
  args: readonly string[],
  environment?: Readonly<Record<string, string>>,
) {
  await using process = piped(args, environment);
  await process.feed(encode(input));
  await process.endInput();
  const { code } = await process.ended();
  const messages = process.logLines().map(({ message }) => message);
  return { code, output: process.outputText(), messages };
}

const REGISTER = ["-u", "ann", "--register", "--json"];

namespaceTests({ file: import.meta.url }, () => {
  Deno.test("skein chat: with no flags but who it is, what is piped finds a group", async () => {
    await using _a = new AdvertisedServer({ id: "a", group: GROUP });
    const { code, output, messages } = await chat("@ann hi\n", REGISTER);
    assertEquals([code, messages], [0, []]);
    assertEquals(JSON.parse(output).text, "hi");
  });

  Deno.test("skein chat: when nobody answers it says that it looks, for what, and ends after --timeout", async () => {
    const args = [...REGISTER, "--timeout", "1500ms"];
    const { code, messages } = await chat("@ann hi\n", args);
    assertEquals(code, 1);
    assertEquals(messages, [
      "Looking for a chat group …",
      "Giving up: no group was found for 1.5 s",
    ]);
  });

  Deno.test("skein chat: it waits for a server that comes later, and for one that is in no group yet", async () => {
    await using _s = new AdvertisedServer({ id: "s" });
    await using process = piped(REGISTER);
    await process.feed(encode("@ann hi\n"));
    await process.until("it looks", () => process.lines.length > 0);
    await using _a = new AdvertisedServer({ id: "a", group: GROUP });
    await process.endInput();
    assertEquals((await process.ended()).code, 0);
  });

  Deno.test("skein chat: only servers of its cluster, and with its key, are found", async () => {
    await using _lab = new AdvertisedServer({
      ...{ id: "a", group: GROUP, cluster: "lab" },
    });
    await using _keyed = new AdvertisedServer({
      ...{ id: "b", group: { ...GROUP, id: "2222222222222222" }, key: KEY },
    });
    const short = [...REGISTER, "--timeout", "700ms"];
    assertEquals((await chat("", short)).code, 1);
    const lab = [...REGISTER, "--cluster", "lab"];
    assertEquals((await chat("", lab)).code, 0);
    assertEquals((await chat("", REGISTER, { SKEIN_KEY: KEY })).code, 0);
    const wrong = { SKEIN_KEY: "fedcba9876543210" };
    assertEquals((await chat("", short, wrong)).code, 1);
  });

  Deno.test("skein chat: when all known servers are gone it finds others of the same group, and of no other", async () => {
    const log = new LiveGroup();
    const a = new AdvertisedServer({ id: "a", group: GROUP, log });
    await using process = piped([...REGISTER, "--log-level", "error"]);
    await process.feed(encode("@ann one\n"));
    await process.until("a message comes", () => process.outputBytes > 0);
    await a.stop();
    await process.feed(encode("@ann two\n"));
    await using _other = new AdvertisedServer({
      ...{ id: "z", group: { id: "2222222222222222", leader: "z" } },
    });
    await using _b = new AdvertisedServer({ id: "b", group: GROUP, log });
    await process.until(
      "the other one comes",
      () => process.outputText().includes("two"),
    );
    await process.endInput();
    assertEquals((await process.ended()).code, 0);
    const texts = process.outputText().trimEnd().split("\n")
      .map((line) => JSON.parse(line).text);
    assertEquals(texts, ["one", "two"]);
  });

  terminalTest(
    "skein chat: somebody new types a name and a password, and chats",
    async () => {
      await using _a = new AdvertisedServer({ id: "a", group: GROUP });
      await using terminal = new Terminal(command());
      await terminal.shows(/Found the group of a \(epoch 1, 1 server, empty\)/);
      await terminal.types("ann\r", /Name: /);
      await terminal.types(`${PASSWORD}\r`, /Password of ann: /);
      await terminal.types(`${PASSWORD}\r`, /the same password again[^:]*: /);
      await terminal.types("@ann hello\r", /Logged in as ann[^]*> /);
      await terminal.shows(/\[\d+ \d\d:\d\d\] ann: hello/);
      await terminal.feed(encode(CTRL_D));
      assertEquals((await terminal.ended()).code, 0);
      assert(!terminal.outputText().includes(PASSWORD));
      assert(!terminal.outputText().includes("Looking"));
      assert(!terminal.outputText().includes("no such user"));
    },
  );

  terminalTest(
    "skein chat: somebody known types the same two, a mistake included, and no account is made",
    async () => {
      await using _a = new AdvertisedServer({ id: "a", group: GROUP });
      assertEquals((await chat("", REGISTER)).code, 0);
      await using terminal = new Terminal(command());
      await terminal.types("anne\r", /Name: /);
      await terminal.types(`${PASSWORD}\r`, /Password of anne: /);
      await terminal.types("\r", /If anne is new here[^:]*: /);
      await terminal.types("ann\r", /Name: /);
      await terminal.types(`${PASSWORD}\r`, /Password of ann: /);
      await terminal.types(CTRL_C, /Logged in as ann[^]*> /);
      assertEquals((await terminal.ended()).code, 0);
      const anne = ["-u", "anne", "--timeout", "5s"];
      assertEquals((await chat("", anne)).code, 1);
    },
  );

  terminalTest(
    "skein chat: it says that it looks, until Ctrl-C",
    async () => {
      await using terminal = new Terminal(command());
      await terminal.types(CTRL_C, /Looking for a chat group …/);
      assertEquals((await terminal.ended()).code, 130);
      await using other = new Terminal(command());
      await other.types(CTRL_D, /Looking for a chat group …/);
      assertEquals((await other.ended()).code, 1);
    },
  );

  terminalTest(
    "skein chat: of two groups it takes the one that holds messages, and names the other",
    async () => {
      const full = { ...GROUP, isVoid: false };
      await using _a = new AdvertisedServer({ id: "a", group: full });
      const group = { id: "2222222222222222", leader: "z" };
      await using _z = new AdvertisedServer({ id: "z", group });
      await using terminal = new Terminal(command());
      await terminal.shows(/2 groups answer: taking the group of a [^]*Name: /);
      assertStringIncludes(terminal.outputText(), "before the group of z");
      const { code, messages } = await chat("@ann hi\n", REGISTER);
      assertEquals([code, messages.length], [0, 1]);
      assertStringIncludes(
        messages[0],
        "2 groups answer: taking the group of a",
      );
      // The shell's prompt begins a line of its own.
      await terminal.feed(encode(CTRL_C));
      assertEquals((await terminal.ended()).code, 130);
      assertMatch(terminal.outputText(), /Name: [^\n]*\n$/);
    },
  );

  terminalTest(
    "skein chat: a change of the group is one line, and the next server is one that the last one told of",
    async () => {
      const log = new LiveGroup();
      const a = new AdvertisedServer({ id: "a", group: GROUP, log });
      // Nobody finds it by asking.
      await using b = new AdvertisedServer({
        ...{ id: "b", group: GROUP, log, cluster: "lab" },
      });
      const { view } = canned();
      assert(view !== undefined);
      const [peer] = canned().peers;
      a.server.shown = {
        ...a.server.shown,
        peers: [{
          ...peer,
          id: "b",
          clientAddress: `127.0.0.1:${b.server.address.port}`,
        }],
      };
      await using terminal = new Terminal(command("-u", "ann", "--register"), {
        SKEIN_PASSWORD: PASSWORD,
      });
      await terminal.shows(/Logged in as ann[^]*> /);
      const reason = "c lost (connection reset\u001b[2J)";
      const epoch = { ...view.epoch, counter: 8 };
      a.server.shown = {
        ...a.server.shown,
        view: { ...view, epoch, primary: "b", reason },
      };
      a.server.service.groupChanged(writable("member"));
      await terminal.shows(
        /\* epoch 8: b leads; c lost \(connection reset\\x1b\[2J\)/,
      );
      await a.stop();
      await terminal.shows(/Connected again/);
      await terminal.types("@ann hello\r", /> /);
      await terminal.shows(/ann: hello/);
    },
  );
});

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { namespaceTests } from "../namespace.ts";
import { program } from "../process/program.ts";
import { RunningProcess } from "../process/running_process.ts";
import { until } from "../process/until.ts";
import { AdvertisedServer } from "./advertised_server.ts";
import { Terminal, terminalTest } from "./terminal.ts";

const CTRL_D = "\x04";
const GROUP = { id: "1111111111111111", leader: "a" } as const;

/** A mesh server that others find by UDP, until it is disposed of. */
class FoundMeshServer implements AsyncDisposable {
  readonly #folder = Deno.makeTempDirSync();
  readonly process: RunningProcess;
  #isOver = false;

  constructor(id: string) {
    const log = `${this.#folder}/chat.log`;
    this.process = new RunningProcess({
      ...{ name: `server ${id}`, folder: this.#folder },
      command: [
        ...program("skein-mesh"),
        ...["--id", id, "-l", "0", "--log", log, "--discover", "udp"],
      ],
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isOver) return;
    this.#isOver = true;
    await this.process[Symbol.asyncDispose]();
    Deno.removeSync(this.#folder, { recursive: true });
  }
}

/** `skein` with this input, to its end. */
async function skein(input: string, ...args: string[]) {
  await using process = new RunningProcess({
    ...{ name: "skein", folder: "/" },
    command: [...program("skein"), ...args],
  });
  if (input !== "") await process.feed(new TextEncoder().encode(input));
  await process.endInput();
  const { code } = await process.ended();
  return { code, output: process.outputText(), log: process.lines };
}

/** Waits until each knows of each. */
async function linked(count: number): Promise<void> {
  await until(`${count} servers that know of each other`, async () => {
    const { output } = await skein("", "status", "--json");
    const { answers = [] } = JSON.parse(output);
    return answers.length === count &&
      answers.every((one: object) =>
        "mesh" in one &&
        JSON.stringify(one.mesh).split('"up":true').length > count
      );
  });
}

namespaceTests({ file: import.meta.url }, () => {
  Deno.test("skein: with nothing said, a mesh is found, shown, traced, switched and chatted in", async () => {
    await using _a = new FoundMeshServer("A");
    await using _b = new FoundMeshServer("B");
    await linked(2);
    const { output } = await skein("", "discover");
    const rows = output.split("\n").slice(1, 3);
    assertEquals(rows.length, 2);
    for (const row of rows) {
      assertMatch(row, /^[AB] +server +- +- +mesh +skein/);
    }
    const found = JSON.parse((await skein("", "discover", "--json")).output);
    assertEquals([found.meshes.length, found.seekers], [1, []]);
    assertStringIncludes(
      (await skein("", "status")).output,
      "2 of 2 servers up",
    );
    const trace = await skein("", "trace");
    assertEquals(trace.code, 0);
    assertMatch(trace.output, /A -> B|B -> A/);
    const star = await skein("", "topology", "star");
    assertStringIncludes(star.output, "A ── B");
    assertEquals(await skein("hi\n", "chat", "-u", "Dana"), {
      ...{ code: 0, output: "", log: [] },
    });
    // A chat group comes first, and without a password there is nothing to say.
    await using _group = new AdvertisedServer({ id: "a", group: GROUP });
    const group = await skein("hi\n", "chat", "-u", "Dana");
    assertEquals(group.code, 2);
    assertStringIncludes(group.log.join(), "SKEIN_PASSWORD");
    const mesh = ["--service", "mesh"];
    assertEquals((await skein("hi\n", "chat", "-u", "Dana", ...mesh)).code, 0);
  });

  terminalTest(
    "skein chat: a person finds a mesh, and another server when all that were known are gone",
    async () => {
      await using a = new FoundMeshServer("A");
      await linked(1);
      const command = [...program("skein"), "chat"];
      await using terminal = new Terminal(command);
      await terminal.shows(/Found the mesh of A/);
      await terminal.types("Dana\r", /Name: /);
      await terminal.shows(/Welcome Dana to Server A/);
      await a[Symbol.asyncDispose]();
      await using _b = new FoundMeshServer("B");
      await terminal.types("/who\r", /At Server B now/);
      await terminal.shows(/Dana +B +\d\d:\d\d/);
      await terminal.feed(new TextEncoder().encode(CTRL_D));
      assertEquals((await terminal.ended()).code, 0);
    },
  );
});

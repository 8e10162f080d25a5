import { assert, assertEquals, assertMatch } from "@std/assert";
import { namespaceTests } from "../namespace.ts";
import { program } from "../process/program.ts";
import { RunningProcess } from "../process/running_process.ts";
import { until } from "../process/until.ts";
import { Terminal, terminalTest } from "./terminal.ts";

const PASSWORD = "correct horse";
const SERVERS = 3;

/** `skein`, with no flags but these, to its end. */
async function skein(...args: string[]) {
  await using process = new RunningProcess({
    name: `skein ${args[0]}`,
    command: [...program("skein"), ...args],
    folder: "/",
    input: "null",
  });
  const { code } = await process.ended();
  return { code, output: process.outputText() };
}

interface FoundNode {
  readonly id: string;
  readonly clients: string;
}

/** Servers on one machine that were told nothing. */
class Servers implements AsyncDisposable {
  readonly #folder = Deno.makeTempDirSync();
  readonly processes: RunningProcess[] = [];

  constructor() {
    for (let i = 0; i < SERVERS; i++) {
      const folder = `${this.#folder}/${i}`;
      Deno.mkdirSync(folder);
      this.processes.push(
        new RunningProcess({
          ...{ name: `server ${i}`, folder },
          command: program("skein-chat"),
        }),
      );
    }
  }

  /** Waits until all are one group, in which all vote, and names its leader. */
  async formed(): Promise<{ leader: string; nodes: readonly FoundNode[] }> {
    let found = { leader: "", nodes: [] as readonly FoundNode[] };
    await until("one group of all servers", async () => {
      const { output } = await skein("discover", "--json");
      const { groups } = JSON.parse(output);
      if (groups.length !== 1 || groups[0].voters !== SERVERS) return false;
      found = { leader: groups[0].leader.id, nodes: groups[0].nodes };
      return true;
    });
    return found;
  }

  /** The process of the server with this id. */
  process(id: string): RunningProcess {
    const found = this.processes.find((process) =>
      process.logLines().some(({ node }) => node === id)
    );
    assert(found !== undefined, `no process is ${id}`);
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const process of this.processes) {
      await process[Symbol.asyncDispose]();
    }
    Deno.removeSync(this.#folder, { recursive: true });
  }
}

namespaceTests({ file: import.meta.url }, () => {
  terminalTest(
    "no flags: servers are one group, a client finds it, and goes on when its leader is killed",
    async () => {
      await using servers = new Servers();
      const { leader } = await servers.formed();
      await using terminal = new Terminal([...program("skein"), "chat"]);
      await terminal.shows(new RegExp(`Found the group of ${leader} `));
      await terminal.types("ann\r", /Name: /);
      await terminal.types(`${PASSWORD}\r`, /Password of ann: /);
      await terminal.types(`${PASSWORD}\r`, /the same password again[^:]*: /);
      await terminal.types("@ann before\r", /Logged in as ann[^]*> /);
      await terminal.shows(/ann: before/);
      servers.process(leader).signal("SIGKILL");
      // The change of the group may be shown before or after.
      await terminal.shows(/Connected again/);
      await terminal.feed(new TextEncoder().encode("@ann after\r"));
      await terminal.shows(/ann: after/);
      await terminal.until(
        "the change of the group is shown",
        () => /\* epoch \d+: \S+ leads; /.test(terminal.outputText()),
      );
      assertEquals(terminal.outputText().match(/ann: before/g)?.length, 1);
      const status = await skein("status");
      assertEquals(status.code, 0);
      assertMatch(status.output, /^\S+ +primary /m);
    },
  );

  Deno.test("no flags: a server that is sent away hands over, and ends by itself", async () => {
    await using servers = new Servers();
    const { leader, nodes } = await servers.formed();
    const clients = nodes.find(({ id }) => id === leader)?.clients;
    assert(clients !== undefined);
    const { code, output } = await skein("leave", "-c", clients);
    assertEquals(code, 0, output);
    assertMatch(output, new RegExp(`^${leader} is asked to leave`));
    assertMatch(
      output,
      new RegExp(`^${leader} has left: 2 voters remain$`, "m"),
    );
    assertEquals((await servers.process(leader).ended()).code, 0);
    const { groups } = JSON.parse((await skein("discover", "--json")).output);
    assertEquals(groups.length, 1);
    assertEquals([groups[0].voters, groups[0].nodes.length], [2, 2]);
  });
});

/** How a server starts, and how it does not. */

import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { program } from "../program.ts";
import { RunningProcess } from "../running_process.ts";
import { until } from "../until.ts";
import { MeshFleet } from "./mesh_fleet.ts";
import { Person } from "./person.ts";
import { RawMesh } from "./raw_mesh.ts";
import { WireError } from "../../../protocol/errors.ts";

Deno.test("mesh start: a port that is taken, a log that cannot be, a list that is none", async (t) => {
  await using fleet = await MeshFleet.start({ ids: ["A"] });
  const a = fleet.server("A");
  const [host, port] = a.address.split(":");
  await t.step("the port", async () => {
    const other = fleet.extra("B", "B", host, port, fleet.logPath());
    const { exit, text } = await other.refusal();
    assertEquals(exit.code, 1);
    assertStringIncludes(text, `Cannot listen at \\"${a.address}\\"`);
  });
  await t.step("the log", async () => {
    const path = `${fleet.folder}/peers.json/chat.log`;
    const other = fleet.extra("B", "B", host, "0", path);
    const { exit, text } = await other.refusal();
    assertEquals(exit.code, 1);
    assertStringIncludes(text, path);
  });
  await t.step("the list", async () => {
    const path = `${fleet.folder}/wrong.json`;
    Deno.writeTextFileSync(path, '[{"id":"B","host":"127.0.0.1"}]');
    const other = fleet.extra("B", "B", host, "0", fleet.logPath(), path);
    const { exit, text } = await other.refusal();
    assertEquals(exit.code, 2);
    assertMatch(text, /^skein-mesh: [^\n]*\[0\]\.port: found nothing[^\n]*$/);
  });
  const dana = await a.login("Dana");
  await dana.say("nothing has happened");
  await dana.heard("nothing has happened");
});

Deno.test("mesh start: without a port the next free one is taken, and the name follows", async () => {
  const folder = Deno.makeTempDirSync({ prefix: "skein-mesh-start-" });
  const start = () =>
    new RunningProcess({
      name: "skein-mesh",
      command: [
        ...program("skein-mesh"),
        ...["--discover", "static", "--exit-with-parent"],
      ],
      folder,
      environment: { HOSTNAME: "lab1" },
    });
  try {
    await using first = start();
    const firstPort = portOf(await first.line(/listens on/));
    await using second = start();
    const secondPort = portOf(await second.line(/listens on/));
    assert(firstPort !== secondPort);
    // In this folder, by its seed's name, is the log of both.
    await until("both have begun", () => {
      const text = Deno.readTextFileSync(`${folder}/shared/logs/chat.log`);
      return [firstPort, secondPort].every((port) =>
        text.includes(`"server":"lab1-${port}","type":"start"`)
      );
    });
    await using dana = await Person.login(`127.0.0.1:${secondPort}`, "Dana");
    assertEquals(dana.lines, [
      `{"type":"system","text":"Welcome Dana to Server lab1-${secondPort}"}`,
    ]);
    assertMatch(first.lines.join("\n"), /No cluster key: .*private address/);
    assertMatch(first.lines.join("\n"), /Keeps the log in shared\/logs\/chat/);
    assertMatch(first.lines.join("\n"), /Is alone: no other server is named/);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("mesh start: two that know only a third become a full mesh", async () => {
  await using fleet = new MeshFleet({ ids: ["B"] });
  const [b] = fleet.servers;
  const others = ["A", "C"].map((id) =>
    fleet.extra(
      id,
      ...["--id", id, "-l", "127.0.0.1:0", "--log", fleet.logPath()],
      ...["--peer", `B=${b.address}`],
    )
  );
  await Promise.all([b, ...others].map((server) => server.start()));
  await fleet.whole([b, ...others]);
  for (const server of [b, ...others]) {
    await fleet.until(
      `${server.id} has two links`,
      async () => await server.metric("skein_mesh_links") === 2,
    );
  }
});

Deno.test("mesh start: a server that is elsewhere than was said does no harm, and is said", async () => {
  await using fleet = await MeshFleet.start({ ids: ["A", "B"] });
  const [a, b] = fleet.servers;
  const told = fleet.extra(
    "E",
    ...["--id", "E", "-l", "127.0.0.1:0", "--log", fleet.logPath()],
    ...["--peer", `Y=${a.address}`, "--peer", `B=${b.address}`],
    ...["--peer", "D=127.0.0.1:1"],
  );
  await told.start();
  await fleet.whole([a, b, told]);
  await fleet.until(
    "it is said",
    () =>
      told.complaints().some((line) =>
        line.includes(
          `Server Y is said to be at ${a.address}, but "A" is there`,
        )
      ),
  );
});

Deno.test("mesh start: with a cluster key only those who have it are servers", async () => {
  const key = "a key for this test alone";
  await using fleet = await MeshFleet.start({
    environment: { SKEIN_KEY: key },
  });
  const [a, b] = fleet.servers;
  const without = fleet.extra(
    "X",
    ...["--id", "X", "-l", "127.0.0.1:0", "--log", fleet.logPath()],
    ...["--peer", `A=${a.address}`, "--key-file", wrongKey(fleet.folder)],
  );
  await without.start();
  await fleet.until(
    "X is refused",
    () => without.complaints().some((line) => line.includes("key")),
  );
  for (
    const wrong of [undefined, new TextEncoder().encode("another key, long")]
  ) {
    const error = await RawMesh.greet(a.address, {
      id: "Y",
      ...wrong !== undefined && { key: wrong },
    }).then(() => undefined, (error) => error);
    assert(error instanceof WireError, String(error));
    assert(["key-required", "wrong-key"].includes(error.code), error.code);
  }
  await using friend = await RawMesh.join(a.address, {
    id: "Z",
    key: new TextEncoder().encode(key),
  });
  assert(friend.messages.length > 0);
  // People need none; but nobody speaks as a server by plain lines.
  const dana = await a.login("Dana");
  const ahmad = await b.login("Ahmad");
  await dana.say("hello");
  await ahmad.heard("hello");
  const plain = await a.connect();
  await plain.send({
    ...{ type: "relay_msg", from: "Eve", origin_server: "S" },
    ...{ text: "hi", timestamp: 1 },
  });
  await plain.line(/"type":"error"/);
  assertEquals(dana.texts, ["hello"]);
});

function wrongKey(folder: string): string {
  const path = `${folder}/key`;
  Deno.writeTextFileSync(path, "this is not the key\n", { mode: 0o600 });
  return path;
}

function portOf(line: string): string {
  const port = /0\.0\.0\.0:(\d+)/.exec(line)?.[1];
  if (port === undefined) throw new Error(`No port in ${line}`);
  return port;
}

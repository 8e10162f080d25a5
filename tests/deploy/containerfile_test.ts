import { assert, assertEquals } from "@std/assert";
import { ROLES } from "../../deploy/build.ts";

const ROOT = new URL("../../", import.meta.url);

type Instruction = readonly [name: string, rest: string];

function read(path: string): string {
  return Deno.readTextFileSync(new URL(path, ROOT));
}

/** Instructions by stage, in order, comments left out. */
function stages(): Map<string, Instruction[]> {
  const found = new Map<string, Instruction[]>();
  let stage: Instruction[] = [];
  for (const line of read("deploy/Containerfile").split("\n")) {
    if (line.trim() === "" || line.startsWith("#")) continue;
    const match = /^([A-Z]+) (\S.*)$/.exec(line);
    assert(match !== null, line);
    const [, name, rest] = match;
    if (name === "FROM") {
      stage = [];
      const named = /^\S+ AS ([a-z-]+)$/.exec(rest);
      assert(named !== null, `each stage has a name: ${rest}`);
      found.set(named[1], stage);
    }
    stage.push([name, rest]);
  }
  return found;
}

function valuesOf(stage: string, name: string): string[] {
  const instructions = stages().get(stage) ?? [];
  return instructions.filter(([other]) => other === name)
    .map(([, rest]) => rest);
}

Deno.test("Containerfile: each image runs its role as nobody special", () => {
  assertEquals([...stages().keys()].at(-1), "chain", "built without --target");
  for (
    const [role, ports] of [
      ["chain", "3525 9090"],
      ["chat", "8081 8091 9090"],
      ["mesh", "5001 9090"],
    ] as const
  ) {
    assertEquals(valuesOf(role, "ENTRYPOINT"), [`["/skein-${role}"]`]);
    assertEquals(valuesOf(role, "EXPOSE"), [ports]);
    const [user] = valuesOf(role, "USER");
    assert(/^[1-9]\d*:[1-9]\d*$/.test(user), `a number but 0: ${user}`);
    const yaml = read(`deploy/k8s/${role}.yaml`);
    assert(yaml.includes(`runAsUser: ${user.split(":")[0]}\n`));
  }
});

Deno.test("Containerfile: copies what it builds, by names that the build knows", () => {
  const names = ROLES.map(({ name }) => name);
  const seen = new Set<string>();
  for (const role of ["chain", "chat", "mesh"]) {
    const [build] = valuesOf(`build-${role}`, "RUN");
    const words = build.split(" ");
    const at = words.indexOf("--output-folder");
    const folder = words[at + 1];
    const built = words.slice(at + 2);
    assertEquals(built.filter((name) => !names.includes(name)), []);
    assertEquals(valuesOf(role, "COPY"), [
      `--from=build-${role} ${
        built.map((name) => `${folder}/${name}`).join(" ")
      } /`,
    ]);
    for (const name of built) seen.add(name);
  }
  assertEquals([...seen].sort(), names.toSorted(), "every role is in an image");
});

Deno.test("Containerfile: the build gets all source folders, and no secrets", () => {
  const [first, ...kept] = read("deploy/Containerfile.dockerignore")
    .split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  assertEquals(first, "*");
  for (const name of ["main.ts", "deno.json", "nodes", "protocol", "std"]) {
    assert(kept.includes(`!${name}`), name);
  }
  assert(!kept.some((line) => /env|\.git|dist|key/.test(line)), kept.join());
});

import { assert, assertEquals } from "@std/assert";
import { ROLES } from "../../deploy/build.ts";

const ROOT = new URL("../../", import.meta.url);

function read(path: string): string {
  return Deno.readTextFileSync(new URL(path, ROOT));
}

/** Instructions in order, comments left out. */
function instructions(): (readonly [name: string, rest: string])[] {
  return read("deploy/Containerfile").split("\n")
    .filter((line) => line.trim() !== "" && !line.startsWith("#"))
    .map((line) => {
      const match = /^([A-Z]+) (\S.*)$/.exec(line);
      assert(match !== null, line);
      return [match[1], match[2]] as const;
    });
}

Deno.test("Containerfile: two stages, the second runs a chain node as nobody special", () => {
  const all = instructions();
  const froms = all.filter(([name]) => name === "FROM");
  assertEquals(froms.length, 2);
  assert(froms[0][1].endsWith(" AS build"), froms[0][1]);
  const runtime = all.slice(all.lastIndexOf(froms[1]) + 1);
  const value = (name: string) =>
    runtime.filter(([other]) => other === name).map(([, rest]) => rest);
  assertEquals(value("ENTRYPOINT"), ['["/skein-chain"]']);
  assert(value("EXPOSE")[0].split(" ").includes("3525"));
  const [user] = value("USER");
  assert(/^[1-9]\d*:[1-9]\d*$/.test(user), `a number but 0: ${user}`);
  const yaml = read("deploy/k8s/chain.yaml");
  assert(yaml.includes(`runAsUser: ${user.split(":")[0]}\n`));
});

Deno.test("Containerfile: copies what it builds, by names that the build knows", () => {
  const all = instructions();
  const [, build] = all.find(([name]) => name === "RUN") ?? ["", ""];
  const words = build.split(" ");
  const folder = words[words.indexOf("--output-folder") + 1];
  const built = words.slice(words.indexOf("--output-folder") + 2);
  const names = ROLES.map(({ name }) => name);
  assertEquals(built.filter((name) => !names.includes(name)), []);
  const [, copy] = all.findLast(([name]) => name === "COPY") ?? ["", ""];
  assertEquals(
    copy,
    `--from=build ${built.map((name) => `${folder}/${name}`).join(" ")} /`,
  );
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

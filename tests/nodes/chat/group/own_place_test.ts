import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { parseChatFlags } from "../../../../nodes/chat/flags.ts";
import { takePlace } from "../../../../nodes/chat/group/own_place.ts";
import { parseWitnessFlags } from "../../../../nodes/witness/flags.ts";
import { AUTOMATIC_NAME } from "../../../../storage/ended_groups.ts";
import { StorageError } from "../../../../storage/errors.ts";

/** A folder in which nodes are started, all on one host. */
class Folder implements Disposable {
  readonly path = Deno.makeTempDirSync({ prefix: "skein-place-" });

  take(flags: readonly string[] = [], host = "lab-1.example.org") {
    const env = new Map([["DATA_DIR", this.path]]);
    return takePlace(parseChatFlags(flags, env, "/nonexistent"), () => host);
  }

  takeWitness() {
    const env = new Map([["DATA_DIR", this.path]]);
    return takePlace(parseWitnessFlags([], env, "/nonexistent"), () => "lab");
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

Deno.test("own place: a node is called by its host and four digits, and so is its directory", () => {
  using folder = new Folder();
  const { settings: { id, data }, lock } = folder.take();
  assertMatch(id, /^lab-1-[0-9a-f]{4}$/);
  assertEquals(data, `${folder.path}/${id}`);
  assertThrows(() => folder.take(["--data", data]), StorageError, "in use");
  lock.release();
});

Deno.test("own place: what another such node has left is taken, what is in use is not", () => {
  using folder = new Folder();
  const first = folder.take();
  const second = folder.take();
  assert(first.settings.id !== second.settings.id);
  const { id } = first.settings;
  first.lock.release();
  // Another host's name by now: the store is the same one.
  const again = folder.take([], "renamed");
  assertEquals(again.settings.id, id);
  const third = folder.take();
  assert(![id, second.settings.id].includes(third.settings.id));
  for (const { lock } of [second, again, third]) lock.release();
});

Deno.test("own place: a directory of a named node, or of a witness, is left alone", () => {
  using folder = new Folder();
  const named = folder.take(["--id", "server-1"]);
  named.lock.release();
  const witness = folder.takeWitness();
  witness.lock.release();
  Deno.mkdirSync(`${folder.path}/pictures`);
  Deno.mkdirSync(`${folder.path}/odd`);
  Deno.writeTextFileSync(`${folder.path}/odd/${AUTOMATIC_NAME}`, "server a b!");
  const server = folder.take();
  const taken = ["server-1", witness.settings.id, "pictures"];
  assert(!taken.includes(server.settings.id), server.settings.id);
  const again = folder.takeWitness();
  assertEquals(again.settings.id, witness.settings.id);
  for (const { lock } of [server, again]) lock.release();
});

Deno.test("own place: with a directory of its own it keeps the name that it got there", () => {
  using folder = new Folder();
  const flags = ["--data", `${folder.path}/here`];
  const { settings: { id, data }, lock } = folder.take(flags);
  assertMatch(id, /^lab-1-[0-9a-f]{4}$/);
  assertEquals(data, `${folder.path}/here`);
  lock.release();
  // Written once: a crash while it is written anew would lose it.
  const written = `server ${id}  \n`;
  Deno.writeTextFileSync(`${data}/${AUTOMATIC_NAME}`, written);
  const again = folder.take(flags);
  assertEquals(again.settings.id, id);
  assertEquals(Deno.readTextFileSync(`${data}/${AUTOMATIC_NAME}`), written);
  again.lock.release();
});

Deno.test("own place: any host's name makes a name", () => {
  using folder = new Folder();
  for (const host of ["", "a b.c", "müller", "x".repeat(300), "-"]) {
    const { settings, lock } = folder.take([], host);
    assertMatch(settings.id, /^[A-Za-z0-9_-]{1,40}-[0-9a-f]{4}$/);
    lock.release();
    Deno.removeSync(settings.data, { recursive: true });
  }
});

Deno.test("own place: a folder that cannot be used is named", () => {
  using folder = new Folder();
  const path = `${folder.path}/file`;
  Deno.writeTextFileSync(path, "");
  const env = new Map([["DATA_DIR", path]]);
  assertThrows(
    () => takePlace(parseChatFlags([], env, "/nonexistent"), () => "h"),
    StorageError,
    path,
  );
});

import { assert, assertEquals } from "@std/assert";
import type { NodeStatus } from "../../../protocol/status.ts";
import { ChatNode } from "../chat/chat_node.ts";
import { ChatNodes, StateHashes, UNHURRIED } from "../chat/chat_nodes.ts";
import { Load } from "../chat/load.ts";
import { CLIENT_PORT, lanTests, REPLICA_PORT } from "./lan.ts";

/** Servers that are all started in one directory of one machine, without a flag. */
class Directory extends ChatNodes implements AsyncDisposable {
  readonly path = Deno.makeTempDirSync({ prefix: "skein-one-host-" });
  readonly #hashes = new StateHashes();
  readonly #nodes: ChatNode[] = [];

  override get nodes(): readonly ChatNode[] {
    return this.#nodes;
  }

  /** A further process. */
  add(): ChatNode {
    const node: ChatNode = new ChatNode(`process ${this.#nodes.length + 1}`, {
      kind: "server",
      address: "",
      // It takes what port is free, and says so.
      get clients() {
        return `127.0.0.1:${portOf(node, "clients")}`;
      },
      admin: "",
      data: `${this.path}/data`,
      folder: this.path,
      onStatus: (status) => this.#hashes.compare(status),
      // Whatever becomes of the test, no server stays behind.
      arguments: () => ["--exit-with-parent"],
    }, { environment: { ...UNHURRIED, HOSTNAME: "lab.example.org" } });
    this.#nodes.push(node);
    return node;
  }

  /** Starts all of them in the same moment; they are one group after it. */
  async start(): Promise<readonly NodeStatus[]> {
    await Promise.all(this.nodes.map((node) => node.start()));
    await this.complete();
    const all = await Promise.all(this.nodes.map((node) => node.status()));
    return all.filter((one) => one !== undefined);
  }

  /** Its folders: one for each server that ever ran. */
  get places(): string[] {
    return [...Deno.readDirSync(`${this.path}/data`)].map(({ name }) => name)
      .sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.nodes.map((one) => one[Symbol.asyncDispose]()));
    await Deno.remove(this.path, { recursive: true });
  }
}

lanTests(import.meta.url, () => {
  Deno.test("discovery on one machine: three servers in one directory are one group, and the same three after a crash of all", async () => {
    await using directory = new Directory();
    for (let count = 0; count < 3; count += 1) directory.add();
    const first = await directory.start();
    const names = namesOf(first);
    for (const name of names) assert(/^lab-[0-9a-f]{4}$/.test(name), name);
    assertEquals(directory.places, names);
    assertEquals(first[0].view?.primary, names.at(-1));
    assertEquals(portsOf(directory, "clients"), portsFrom(CLIENT_PORT, 3));
    assertEquals(portsOf(directory, "replicas"), portsFrom(REPLICA_PORT, 3));

    await using load = await Load.start(directory);
    await Promise.all(directory.nodes.map((node) => node.kill()));
    const second = await directory.start();
    assertEquals(namesOf(second), names);
    assertEquals(storesOf(second), storesOf(first));
    assertEquals(second[0].group, first[0].group);
    await load.more();

    const fourth = directory.add();
    await fourth.start();
    const whole = await directory.complete();
    assertEquals(directory.places.length, 4);
    assertEquals(whole.view?.voters, directory.places);
    assertEquals(portOf(fourth, "clients"), CLIENT_PORT + 3);
    await load.more();
    await load.verify();
  });
});

function namesOf(all: readonly NodeStatus[]): string[] {
  return all.map(({ node }) => node).sort();
}

function storesOf(all: readonly NodeStatus[]): string[] {
  return all.map(({ node, store }) => `${node} ${store}`).sort();
}

function portsFrom(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, at) => first + at);
}

function portsOf(
  directory: Directory,
  whose: "clients" | "replicas",
): number[] {
  return directory.nodes.map((node) => portOf(node, whose)).sort();
}

/** What the server has said of where it listens. */
function portOf(node: ChatNode, whose: "clients" | "replicas"): number {
  const said = node.process.logLines().find(({ message }) =>
    message === "Listening"
  );
  return Number(String(said?.[whose]).split(":").at(-1));
}

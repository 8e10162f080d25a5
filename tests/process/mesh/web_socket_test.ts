/** Browsers: the same messages by WebSocket, at the same port. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { until } from "../until.ts";
import { MeshFleet } from "./mesh_fleet.ts";

/** A WebSocket that keeps what it gets. */
class Browser implements Disposable {
  readonly frames: string[] = [];
  isClosed = false;
  readonly #socket: WebSocket;

  constructor(address: string) {
    this.#socket = new WebSocket(`ws://${address}/ws`);
    this.#socket.onmessage = ({ data }) => this.frames.push(String(data));
    this.#socket.onclose = () => this.isClosed = true;
    // What went wrong shows in what did not come.
    this.#socket.onerror = (event) => event.preventDefault();
  }

  async opened(): Promise<void> {
    await until(
      "the socket is open",
      () => this.#socket.readyState === WebSocket.OPEN,
    );
  }

  say(request: object): void {
    this.#socket.send(JSON.stringify(request));
  }

  async got(pattern: RegExp): Promise<string> {
    return await until(
      `a frame like ${pattern}`,
      () => this.frames.find((frame) => pattern.test(frame)),
      { context: () => this.frames.join("\n") },
    );
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}

Deno.test("mesh WebSocket: a browser at one server and nc at another talk", async () => {
  await using fleet = await MeshFleet.start({ ids: ["A", "B"] });
  const [a, b] = fleet.servers;
  const ahmad = await b.login("Ahmad");
  using dana = new Browser(a.address);
  await dana.opened();
  dana.say({ type: "login", username: "Dana" });
  await dana.got(/Welcome/);
  dana.say({ type: "msg", text: "Hello everyone!" });
  await ahmad.heard("Hello everyone!");
  await ahmad.say("Hello from B");
  await dana.got(/Hello from B/);
  assertEquals(dana.frames, [
    '{"type":"system","text":"Welcome Dana to Server A"}',
    '{"type":"msg","from":"Dana","server":"A","text":"Hello everyone!"}',
    '{"type":"msg","from":"Ahmad","server":"B","text":"Hello from B"}',
  ]);
  const other = await b.connect();
  await other.send({ type: "login", username: "Dana" });
  await other.line(/username taken/);
  dana.say({ type: "quit" });
  await until("it is closed", () => dana.isClosed);
});

Deno.test("mesh WebSocket: what is no WebSocket gets an answer in HTTP", async () => {
  await using fleet = await MeshFleet.start({ ids: ["A"] });
  const { address } = fleet.server("A");
  const page = await fetch(`http://${address}/`);
  await page.text();
  assert(page.status >= 400 || page.status === 200, `${page.status}`);
  const missing = await fetch(`http://${address}/nothing`);
  await missing.body?.cancel();
  assertEquals(missing.status, 404);
  const plain = await fetch(`http://${address}/ws`);
  assertMatch(await plain.text(), /WebSocket|upgrade/i);
  assert(plain.status >= 400, `${plain.status}`);
});

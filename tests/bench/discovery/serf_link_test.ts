/** Contract of a connection to an agent of serf. */

import { assertEquals, assertRejects } from "@std/assert";
import { FakeServer } from "../chat/fake_server.ts";
import { pack } from "./message_pack.ts";
import { SerfLink } from "./serf_link.ts";

/** `{Members: [{Name, Status, Addr, Port} …]}` as an agent sends it. */
const MEMBERS = [
  ...[0x81, 0xa7, ...text("Members"), 0x92],
  ...member("host-1", "alive"),
  ...member("host-2", "failed"),
];

function member(name: string, status: string): number[] {
  return [
    ...[0x84, 0xa4, ...text("Name"), 0xa0 | name.length, ...text(name)],
    ...[0xa6, ...text("Status"), 0xa0 | status.length, ...text(status)],
    ...[0xa4, ...text("Addr"), 0xa4, 10, 211, 0, 255],
    ...[0xa4, ...text("Port"), 0xcd, 0x1f, 0x0a],
  ];
}

function text(word: string): Uint8Array {
  return new TextEncoder().encode(word);
}

async function connected(server: FakeServer): Promise<SerfLink> {
  const link = SerfLink.connect(
    { hostname: "127.0.0.1", port: server.port },
    "host-1",
  );
  await server.until("Version\x01");
  await server.writeBytes(pack({ Seq: 0, Error: "" }));
  return await link;
}

Deno.test("serf link: an agent is greeted, then asked; those alive are its members", async () => {
  await using server = new FakeServer();
  const link = await connected(server);
  for (const sequence of [1, 2]) {
    const asked = link.members();
    await server.until(`Seq${String.fromCharCode(sequence)}`);
    const answer = [...pack({ Seq: sequence, Error: "" }), ...MEMBERS];
    // A piece at a time, with a pause of the reader's at each.
    for (const byte of answer) await server.writeBytes(new Uint8Array([byte]));
    assertEquals(await asked, {
      self: "host-1",
      isIn: true,
      names: ["host-1"],
      leader: undefined,
      isSettled: true,
    });
  }
  link.close();
});

Deno.test("serf link: an error, an answer to something else and an end are errors", async () => {
  for (
    const answer of [
      pack({ Seq: 1, Error: "Handshake required" }),
      pack({ Seq: 7, Error: "" }),
      undefined,
    ]
  ) {
    await using server = new FakeServer();
    const link = await connected(server);
    const asked = assertRejects(() => link.members(), Error);
    await server.until("Seq\x01");
    if (answer === undefined) await server.hangUp();
    else await server.writeBytes(answer);
    await asked;
    link.close();
  }
});

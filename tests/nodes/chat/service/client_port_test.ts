import { assertEquals } from "@std/assert";
import { openFinder } from "../../../../nodes/host/discovery/open_finder.ts";
import { dial } from "../../../../nodes/host/link.ts";
import { encodeDiscoverAsk } from "../../../../protocol/discovery_words.ts";
import { WireError } from "../../../../protocol/errors.ts";
import { encodeFrame, FRAME } from "../../../../protocol/frame.ts";
import { readError } from "../../../../protocol/handshake.ts";
import { KeptLog } from "../../host/discovery/lan.ts";
import { framesOf, greeting, readUntil } from "../../host/loopback.ts";
import { until } from "../../../process/until.ts";
import { advertOf, questionOf } from "../../../protocol/discovery_messages.ts";
import { bytesOf, textOf } from "../../../protocol/splits.ts";
import { LiveGroup, LiveServer } from "./live_service.ts";

const KEY = bytesOf("a key of sixteen bytes");
const CLIENT = greeting({ role: "client", accepts: ["chat"] });
const DIAL = { silentMsMax: 3_000 };

Deno.test("client port: it takes lines of text, and tells who looks for it in frames", async () => {
  await using server = new LiveServer(new LiveGroup(), {
    advert: () => advertOf({ id: "live" }),
    connectionsMax: 2,
  });
  const names: string[] = [];
  const finder = openFinder({
    where: { kind: "static", addresses: [server.address] },
    onSighting: ({ advert }) => names.push(advert.id),
    log: new KeptLog(),
  });
  // More often than it takes connections at once: each is let go.
  await until("it is sighted five times", () => {
    finder.ask();
    return names.length >= 5;
  });
  finder.close();
  assertEquals(new Set(names), new Set(["live"]));
  const { host: hostname, port } = server.address;
  using conn = await Deno.connect({ hostname, port });
  await conn.write(bytesOf('{"type":"status"}\n'));
  const said = await readUntil(conn, (bytes) => bytes.includes(0x0a));
  assertEquals(JSON.parse(textOf(said).split("\n")[0]).type, "ok");
});

Deno.test("client port: frames may ask who is there, and nothing else", async () => {
  await using server = new LiveServer(new LiveGroup(), {
    advert: () => advertOf({ id: "live" }),
  });
  const { link } = await dial(server.address, CLIENT, DIAL);
  await link.send(encodeFrame(FRAME.chainData, bytesOf("hello")));
  const said = await readUntil(
    link,
    (bytes) => framesOf(bytes).some(({ kind }) => kind === FRAME.error),
  );
  const frame = framesOf(said).find(({ kind }) => kind === FRAME.error);
  const error = readError(frame?.payload ?? new Uint8Array(0));
  assertEquals([error.code, error.message], [
    "role-mismatch",
    "This port takes lines of text, and of frames only kind 64, not 16",
  ]);
  link.abort();
  for (const role of ["chat", "witness", "chain"] as const) {
    assertEquals(await refusal(server, { ...CLIENT.self, role }), [
      "role-mismatch",
      `Peer has role "${role}", wanted client`,
    ]);
  }
});

Deno.test("client port: with a key, only who has it is told who is there", async () => {
  await using server = new LiveServer(new LiveGroup(), {
    advert: () => advertOf({ id: "live", isOpen: false }),
    key: KEY,
  });
  assertEquals(await refusal(server, CLIENT.self), [
    "key-required",
    "This node has a cluster key, peer has none",
  ]);
  const { link } = await dial(server.address, { ...CLIENT, key: KEY }, DIAL);
  await link.send(encodeDiscoverAsk(questionOf({ keyed: true })));
  const said = await readUntil(link, (bytes) => framesOf(bytes).length > 0);
  assertEquals(framesOf(said)[0].kind, FRAME.discoverAnswer);
  link.abort();
});

/** Why a dialer who says this of himself is not taken: code and text. */
async function refusal(
  server: LiveServer,
  self: typeof CLIENT.self,
): Promise<readonly string[]> {
  try {
    const { link } = await dial(server.address, { ...CLIENT, self }, DIAL);
    link.abort();
    return [];
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    return [error.code, error.message];
  }
}

/** Asks everybody on a network, thousands of times a second, until it is ended; tells how often. */

import { DISCOVERY_PORT } from "../../../protocol/discovery.ts";
import { encodeQuestionDatagram } from "../../../protocol/discovery_codec.ts";
import { questionOf } from "../../protocol/discovery_messages.ts";

const ROUND_MS = 10;

const [own, broadcast, perSecond] = Deno.args;
const perRound = Number(perSecond) * ROUND_MS / 1_000;
const conn = Deno.listenDatagram({
  ...{ transport: "udp", hostname: own, port: 0 },
});
const startMs = performance.now();
for (let sent = 0;;) {
  // What was missed while others had the processor is made up for.
  const due = Math.floor((performance.now() - startMs) / ROUND_MS) * perRound;
  for (; sent < due; sent += 1) {
    const bytes = encodeQuestionDatagram(questionOf(), undefined);
    await conn.send(bytes, {
      ...{ transport: "udp", hostname: broadcast, port: DISCOVERY_PORT },
    });
  }
  console.log(sent);
  await new Promise((resolve) => setTimeout(resolve, ROUND_MS));
}

/** Answers questions in a process of its own; tells its counters, line by line, as often as it is asked. */

import {
  type Answerer,
  openAnswerer,
} from "../../../../nodes/host/discovery/answerer.ts";
import { DISCOVER_UDP } from "../../../../nodes/host/discovery/discover_flags.ts";
import { openLog } from "../../../../nodes/host/log.ts";
import { advertOf } from "../../../protocol/discovery_messages.ts";

/** Names of the nodes that answer, each as a process of its own would. */
const names = Deno.args;

const { log } = openLog({ node: "answerer", level: "info" });
const key = Deno.env.get("SKEIN_KEY");

const answerers: Answerer[] = names.map((id) =>
  openAnswerer({
    where: DISCOVER_UDP,
    ...{ service: "chat", cluster: "skein", log },
    ...(key !== undefined && { key: new TextEncoder().encode(key) }),
    advert: () => advertOf({ id, isOpen: key === undefined }),
  })
);

console.log("ready");
for await (const _ of Deno.stdin.readable) {
  console.log(JSON.stringify(answerers[0].counters));
}
for (const answerer of answerers) answerer.close();

/**
 * A node of a group in a process of its own: `ID STORE PORT PEER_ID PEER_PORT`.
 * Lives until its input ends.
 */

import { LISTEN } from "../../host/loopback.ts";
import { PeerNode } from "./peer_node.ts";

const [id, store, port, peer, peerPort] = Deno.args;
const at = (text: string) => ({ host: LISTEN.hostname, port: Number(text) });
await using _node = new PeerNode({
  id,
  store,
  peers: [{ id: peer, kind: "server", address: at(peerPort) }],
  listen: at(port),
});
for await (const _ of Deno.stdin.readable);

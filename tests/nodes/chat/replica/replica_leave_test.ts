import { assertEquals } from "@std/assert";
import { DEFAULT_TIMING } from "../../../../nodes/chat/replica/contract.ts";
import { PeerLinks } from "../../../../nodes/chat/links/peers.ts";
import { Replica } from "../../../../nodes/chat/replica/replica.ts";
import { EPOCH_NONE } from "../../../../protocol/epoch.ts";
import { LISTEN } from "../../host/loopback.ts";
import {
  advertOf,
  helloOf,
  identityOf,
  KeptLog,
  storeOf,
} from "../links/peer_node.ts";

/** A server that is in no group, and so is out of it at the next tick. */
function loneReplica(): Replica {
  const self = identityOf("a");
  const store = storeOf("a");
  const journal = new KeptLog();
  return new Replica({
    core: {
      self: {
        ...{ id: "a", store, kind: "server", priority: 0, group: undefined },
        incarnation: self.incarnation,
      },
      ...{ founders: [], sticky: true, timing: DEFAULT_TIMING, seed: 1 },
    },
    acceptorState: {
      ...{ promised: EPOCH_NONE, accepted: undefined, isDamaged: false },
    },
    acceptor: { saveNow: () => {} },
    directory: "data",
    log: undefined,
    appliedIndex: 0,
    events: { committed: () => {}, groupChanged: () => {} },
    installSnapshot: () => Promise.reject(new Error("It has no data")),
    mendLog: undefined,
    onFatal: (error) => {
      throw error;
    },
    journal,
    connect: (onInputs) =>
      new PeerLinks({
        ...{ self, peers: [], silentMsMax: 60_000, log: journal, onInputs },
        listen: { host: LISTEN.hostname, port: 0 },
        hello: () => helloOf(store),
        onIdTaken: () => {},
        advert: () => advertOf("a", store),
      }),
  });
}

Deno.test("replica: who could not leave in time hears when it has left", async () => {
  const replica = loneReplica();
  const late = Promise.withResolvers<void>();
  const options = { isForGood: true, onLate: late.resolve };
  // A tick may be due just now; the next one is some ms away then.
  while (await replica.leave(0, options));
  await late.promise;
  assertEquals(await replica.leave(60_000, options), true, "and whoever asks");
  await replica.close();
});

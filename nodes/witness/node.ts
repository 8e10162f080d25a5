/** A witness: votes on who is in sync and who leads, and holds no data. */

import { LocalDisk } from "../../storage/disk.ts";
import { AcceptorFile } from "../../storage/acceptor_file.ts";
import { endGroup } from "../../storage/ended_groups.ts";
import { failNode, GroupNode } from "../chat/group/group_node.ts";
import {
  type GroupNodeLife,
  type LifeParts,
  runGroupNode,
} from "../chat/group/group_process.ts";
import { Latencies } from "../chat/service/latencies.ts";
import { witnessReadiness } from "../chat/status.ts";
import { orExit } from "../host/flags.ts";
import { drawIncarnation } from "../host/link.ts";
import { parseWitnessFlags, type WitnessSettings } from "./flags.ts";

/** Runs a witness until it is told to stop. */
export async function main(args: readonly string[]): Promise<void> {
  const asked = orExit(() => parseWitnessFlags(args, Deno.env));
  await runGroupNode(asked, begin);
}

async function begin(
  life: LifeParts<WitnessSettings>,
): Promise<GroupNodeLife> {
  const { settings, opened } = life;
  const disk = new LocalDisk();
  const { file: acceptor, reason, cutBytes } = await AcceptorFile.open(
    disk,
    settings.data,
    { hasLog: false },
  );
  if (reason !== undefined) opened.log.warn(`This is a new store: ${reason}`);
  if (cutBytes > 0) {
    opened.log.warn("Cut a torn end off the votes", { bytes: cutBytes });
  }
  const node = new GroupNode({
    settings,
    kind: "witness",
    priority: 0,
    isSticky: false,
    forgetAfterMs: undefined,
    incarnation: drawIncarnation(),
    opened,
    acceptor,
    log: undefined,
    clients: undefined,
    dissolved: life.dissolved,
    // It keeps nothing but its word, which a group that has ended asks for no
    // more; and one can end in the moment in which a witness gets its vote.
    isVoid: () => true,
    isAppliedVoid: () => true,
    onGiveUp: (reason) => {
      const group = acceptor.state.accepted?.group;
      if (group === undefined || node.isStopping) return;
      node.groupEnded();
      opened.log.info("This witness's group has ended", { reason });
      try {
        endGroup(settings.data, group);
      } catch (error) {
        return void failNode(opened, error);
      }
      life.onEnded();
    },
    serveSnapshots: undefined,
    installSnapshot: () => Promise.reject(new Error("A witness has no data")),
    appliedIndex: 0,
    events: { committed: () => {}, groupChanged: () => {} },
  });
  node.announce({});
  const status = () => node.status({ appliedIndex: 0, hash: "", clients: 0 });
  await node.startAdmin({
    status,
    readiness: (now) => witnessReadiness(now, { isStopping: node.isStopping }),
    counters: () => ({
      proposals: 0,
      openProposals: 0,
      commitLatencies: new Latencies(),
      syncs: node.replica.counters.syncs,
      syncSeconds: node.replica.counters.syncSeconds,
      elections: node.replica.counters.elections,
      views: node.replica.counters.views,
      sessions: 0,
      users: 0,
      logBytes: 0,
      refusedConnections: node.replica.peers.refused,
      refusedRequests: 0,
    }),
  });
  const close = async () => {
    await node.close();
    await acceptor.close();
  };
  return {
    close,
    stop: async (reason) => {
      opened.log.info("Stopping", { reason });
      node.isStopping = true;
      await close();
      opened.log.info("Stopped");
    },
  };
}

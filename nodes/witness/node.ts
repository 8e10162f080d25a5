/** A witness: votes on who is in sync and who leads, and holds no data. */

import { DirectoryLock } from "../../storage/directory_lock.ts";
import { LocalDisk } from "../../storage/disk.ts";
import { AcceptorFile } from "../../storage/acceptor_file.ts";
import { failNode, GroupNode } from "../chat/group_node.ts";
import { Latencies } from "../chat/latencies.ts";
import { witnessReadiness } from "../chat/status.ts";
import { orExit } from "../host/flags.ts";
import { type OpenLog, openLog } from "../host/log.ts";
import { stopOnSignals } from "../host/process.ts";
import { parseWitnessFlags, type WitnessSettings } from "./flags.ts";

/** Runs a witness until it is told to stop. */
export async function main(args: readonly string[]): Promise<void> {
  const settings = orExit(() => parseWitnessFlags(args, Deno.env));
  const opened = openLog({ node: settings.id, level: settings.logLevel });
  try {
    await run(settings, opened);
  } catch (error) {
    await failNode(opened, error);
  }
}

async function run(settings: WitnessSettings, opened: OpenLog): Promise<void> {
  const lock = DirectoryLock.acquire(settings.data);
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
    opened,
    acceptor,
    log: undefined,
    clientAddress: undefined,
    serveSnapshots: undefined,
    installSnapshot: () => Promise.reject(new Error("A witness has no data")),
    appliedIndex: 0,
    events: { committed: () => {}, groupChanged: () => {} },
  });
  stopOnSignals({
    log: opened,
    exitWithParent: settings.exitWithParent,
    stop: async (reason) => {
      opened.log.info("Stopping", { reason });
      node.isStopping = true;
      await node.close();
      await acceptor.close();
      lock.release();
      opened.log.info("Stopped");
    },
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
}

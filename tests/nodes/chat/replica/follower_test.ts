import { assertEquals } from "@std/assert";
import { ReplicaContext } from "../../../../nodes/chat/replica/context.ts";
import {
  DEFAULT_TIMING,
  type ReplicaEffect,
} from "../../../../nodes/chat/replica/contract.ts";
import { Follower } from "../../../../nodes/chat/replica/follower.ts";
import { LOG_START } from "../../../../nodes/chat/replica/log_index.ts";
import type { Epoch } from "../../../../protocol/epoch.ts";
import type { View } from "../../../../protocol/view.ts";

const SELF = "a".repeat(16);
const PRIMARY = "b".repeat(16);
const EPOCH: Epoch = { counter: 3, store: PRIMARY };
const BASE = { index: 26, epoch: { counter: 1, store: PRIMARY } };

/** A learner without an entry, which is getting a snapshot. */
function fetching(): { context: ReplicaContext; follower: Follower } {
  const context = new ReplicaContext({
    self: {
      id: "a",
      kind: "server",
      priority: 0,
      store: SELF,
      incarnation: SELF,
      group: PRIMARY,
    },
    founders: [],
    sticky: false,
    timing: DEFAULT_TIMING,
    seed: 1,
  });
  const view: View = {
    epoch: EPOCH,
    group: PRIMARY,
    voters: [PRIMARY],
    members: [PRIMARY],
    primary: PRIMARY,
    nodes: { [PRIMARY]: { id: "b", kind: "server", priority: 0 } },
    reason: "",
  };
  context.acceptor.load({ promised: EPOCH, accepted: view, isDamaged: false });
  context.log.load({ base: LOG_START, runs: [], lastIndex: 0 });
  const follower = new Follower(context, view);
  follower.snapshotNeeded(PRIMARY);
  context.take();
  return { context, follower };
}

/** The snapshot is there. */
function install({ context, follower }: ReturnType<typeof fetching>) {
  context.isFetching = false;
  context.log.reset(BASE);
  follower.snapshotInstalled(BASE);
  return sent(context.take());
}

function sent(effects: readonly ReplicaEffect[]): string[] {
  return effects.map((effect) =>
    effect.kind === "send" ? effect.message.kind : effect.kind
  );
}

Deno.test("follower: a snapshot that is installed is acknowledged", () => {
  assertEquals(install(fetching()), ["appended"]);
});

Deno.test("follower: what came while a snapshot was got is asked for again", () => {
  const learner = fetching();
  learner.follower.append({
    kind: "append",
    epoch: EPOCH,
    previous: BASE,
    commit: 27,
    entries: [{ index: 27, epoch: EPOCH, command: new Uint8Array(0) }],
  });
  assertEquals(sent(learner.context.take()), []);
  assertEquals(install(learner), ["appended", "unaware"]);
});

/** The process that makes a bench's load: one plan in, one result out. */

import { Value } from "typebox/value";
import { ClosedLoop } from "./closed_loop.ts";
import { EtcdLink } from "./etcd_link.ts";
import { KillLoop } from "./kill_loop.ts";
import { KillPlan, LoadPlan } from "./load_plan.ts";
import { NatsLink } from "./nats_link.ts";
import { SkeinLink } from "./skein_link.ts";
import { readSessions } from "./skein_sessions.ts";
import type { OpenLink, Place } from "./write_link.ts";

/**
 * Writes that one connection may have without an answer: a server of Skein
 * reads no more beyond 256.
 */
const LANES_MAX = { etcd: 4_096, nats: 4_096, skein: 128 };

if (import.meta.main) {
  void endWithParent();
  let answer: unknown;
  try {
    answer = await perform(JSON.parse(Deno.args[0]));
  } catch (error) {
    answer = { error: error instanceof Error ? error.message : `${error}` };
  }
  console.log(JSON.stringify(answer));
  Deno.exit(0);
}

function perform(plan: unknown): Promise<unknown> {
  if (Value.Check(LoadPlan, plan)) {
    return new ClosedLoop().run(plan, opener(plan));
  }
  if (Value.Check(KillPlan, plan)) {
    const survivors = plan.ports.filter((_, index) => index !== plan.victim);
    const load = opener(plan);
    const probe = opener({ ...plan, ports: survivors });
    const probeClients = survivors.map((_, index) => plan.connections + index);
    const lanesMax = LANES_MAX[plan.protocol];
    return new KillLoop(plan, { load, probe, probeClients, lanesMax }).run();
  }
  throw new TypeError(`Found no plan in ${JSON.stringify(plan)}`);
}

function opener({ protocol, ports, sessions }: LoadPlan | KillPlan): OpenLink {
  const portOf = ({ client, attempt }: Place) =>
    ports[(client + attempt) % ports.length];
  switch (protocol) {
    case "etcd":
      return (place, events) => EtcdLink.connect(portOf(place), events);
    case "nats":
      return (place, events) => NatsLink.connect(portOf(place), events);
    case "skein": {
      const all = readSessions(sessions ?? "");
      return (place, events) => {
        const session = all[place.client];
        return SkeinLink.connect(portOf(place), { session, events });
      };
    }
  }
}

/** The bench holds the other end and never writes. */
async function endWithParent(): Promise<void> {
  await Deno.stdin.readable.pipeTo(new WritableStream());
  Deno.exit(1);
}

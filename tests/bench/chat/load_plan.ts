/** What a load process is asked for, and what it answers. */

import Type, { type Static } from "typebox";

/** Whom one may write to. */
export const Protocol = Type.Union([
  Type.Literal("etcd"),
  Type.Literal("nats"),
  Type.Literal("skein"),
]);
export type Protocol = Static<typeof Protocol>;

const Count = Type.Integer({ minimum: 1, maximum: 100_000 });
const Milliseconds = Type.Number({ minimum: 0, maximum: 600_000 });
const Ports = Type.Array(Count, { minItems: 1, maxItems: 16 });

/** Clients that each write again when their write is acknowledged. */
export const LoadPlan = Type.Object({
  kind: Type.Literal("load"),
  protocol: Protocol,
  /** Connections are spread over these. */
  ports: Ports,
  connections: Count,
  /** Writes under way on each connection. */
  lanes: Count,
  warmUpMs: Milliseconds,
  measureMs: Milliseconds,
  /** Whose use of the processors is measured beside the load's own. */
  pids: Type.Array(Count),
  /** File with what the clients need to be known by the server. */
  sessions: Type.Optional(Type.String()),
});
export type LoadPlan = Static<typeof LoadPlan>;

/** What came of it. */
export const LoadResult = Type.Object({
  writes: Type.Integer(),
  seconds: Type.Number(),
  p50Us: Type.Number(),
  p99Us: Type.Number(),
  maxUs: Type.Number(),
  refused: Type.Integer(),
  refusal: Type.Optional(Type.String()),
  /** Parts of one processor that were busy: 1 is one whole. */
  loadCpus: Type.Number(),
  serverCpus: Type.Number(),
});
export type LoadResult = Static<typeof LoadResult>;

/** Load under which a server is killed. */
export const KillPlan = Type.Object({
  kind: Type.Literal("kill"),
  protocol: Protocol,
  ports: Ports,
  /** Which of the ports, and which process, is killed. */
  victim: Type.Integer({ minimum: 0 }),
  victimPid: Count,
  connections: Count,
  warmUpMs: Milliseconds,
  waitMsMax: Milliseconds,
  sessions: Type.Optional(Type.String()),
});
export type KillPlan = Static<typeof KillPlan>;

export const KillResult = Type.Object({
  /** From the kill until a write that began after it was acknowledged. */
  gapMs: Type.Number(),
  /** Writes acknowledged before the kill. */
  writes: Type.Integer(),
});
export type KillResult = Static<typeof KillResult>;

/** Instead of a result. */
export const LoadFailure = Type.Object({ error: Type.String() });

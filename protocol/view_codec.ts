/** Views as JSON: on a link and on a disk; see `WIRE.md#replica`. */

import { Type } from "typebox";
import { Compile } from "typebox/compile";
import { WireError } from "./errors.ts";
import { NODES_MAX, REASON_CHARACTERS_MAX, type View } from "./view.ts";

/** The shape of a store's id. */
export const STORE_SCHEMA = Type.String({ pattern: "^[0-9a-f]{16}$" });

/** The shape of a whole number from 0 to 2^53 - 1. */
export const COUNT_SCHEMA = Type.Integer({
  minimum: 0,
  maximum: Number.MAX_SAFE_INTEGER,
});

/** The shape of an epoch. */
export const EPOCH_SCHEMA = Type.Object({
  counter: COUNT_SCHEMA,
  store: STORE_SCHEMA,
});

/** The shape of what orders nodes: any whole number. */
export const PRIORITY_SCHEMA = Type.Integer({
  minimum: Number.MIN_SAFE_INTEGER,
  maximum: Number.MAX_SAFE_INTEGER,
});

const STORES = Type.Array(STORE_SCHEMA, { minItems: 1, maxItems: NODES_MAX });

/** The shape of a view; whether it makes sense is for {@linkcode readView}. */
export const VIEW_SCHEMA = Type.Object({
  epoch: EPOCH_SCHEMA,
  group: STORE_SCHEMA,
  voters: STORES,
  previousVoters: Type.Optional(STORES),
  members: STORES,
  primary: STORE_SCHEMA,
  nodes: Type.Record(
    Type.String(),
    Type.Object({
      id: Type.String({ pattern: "^[A-Za-z0-9._:-]{1,64}$" }),
      kind: Type.Union([Type.Literal("server"), Type.Literal("witness")]),
      priority: PRIORITY_SCHEMA,
    }),
  ),
  reason: Type.String({ maxLength: REASON_CHARACTERS_MAX }),
});

const VIEW = Compile(VIEW_SCHEMA);

/**
 * Checks a view that came as JSON. Fields that this version does not know are
 * left out.
 *
 * @throws {WireError} `invalid-message`, and what is wrong with it: close the
 * link, or take the file for damaged.
 */
export function readView(value: unknown): View {
  if (!VIEW.Check(value)) throw broken("wrong fields");
  const { epoch, group, voters, previousVoters, members, primary, reason } =
    value;
  const sets = { voters, members, previousVoters: previousVoters ?? [] };
  const nodes: Record<string, View["nodes"][string]> = {};
  for (const [name, set] of Object.entries(sets)) {
    for (let i = 0; i < set.length; i++) {
      if (i > 0 && set[i - 1] >= set[i]) {
        throw broken(`its ${name} are not sorted, or name a store twice`);
      }
      if (!Object.hasOwn(value.nodes, set[i])) {
        throw broken(`it does not say who "${set[i]}" is`);
      }
      const { id, kind, priority } = value.nodes[set[i]];
      nodes[set[i]] = { id, kind, priority };
    }
  }
  if (!members.includes(primary)) throw broken("its primary is no member");
  return {
    epoch: { counter: epoch.counter, store: epoch.store },
    group,
    voters,
    ...(previousVoters !== undefined && { previousVoters }),
    members,
    primary,
    nodes,
    reason,
  };
}

function broken(why: string): WireError {
  return new WireError("invalid-message", `Cannot read view: ${why}`);
}

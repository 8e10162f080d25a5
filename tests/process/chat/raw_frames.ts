/** Frames between nodes with numbers and parts of a test's choice. */

import {
  encodeFrame,
  FRAME,
  writeUint32,
  writeUint53,
} from "../../../protocol/frame.ts";
import type { Epoch } from "../../../protocol/epoch.ts";
import type { View } from "../../../protocol/view.ts";
import { STRANGER_HELLO } from "./raw_peer.ts";
import { FORGED } from "./traces.ts";

const STORE = STRANGER_HELLO.store;

/** An epoch that a stranger could make, and one before it. */
export const NEAR: Epoch = { counter: 3, store: STORE };
export const LOW: Epoch = { counter: 2, store: STORE };

/** An epoch that no group comes to. */
export const FAR: Epoch = { counter: 2 ** 52, store: STORE };

/** An append; unless said otherwise of one entry behind index 1, which fits. */
export function append(options: {
  readonly epoch?: Epoch;
  readonly index?: number;
  readonly count?: number;
  /** Of the entries; without it there is one of the message's own. */
  readonly epochs?: readonly Epoch[];
  readonly commandBytes?: number;
}): Uint8Array {
  const { epoch = NEAR, index = 1, count = 1, commandBytes = 1 } = options;
  const numbers = new Uint8Array(12);
  writeUint32(numbers, 8, count);
  const command = new Uint8Array(commandBytes);
  const entries =
    options.epochs?.map((own) =>
      join(uint32(0x8000_0000 + commandBytes), epochBytes(own), command)
    ) ?? [join(uint32(commandBytes), command)];
  return encodeFrame(
    FRAME.replicaAppend,
    join(
      epochBytes(epoch),
      uint53(index),
      epochBytes(LOW),
      numbers,
      ...entries,
    ),
  );
}

/** Commands for the primary. */
export function forward(commands: readonly Uint8Array[]): Uint8Array {
  return encodeFrame(
    FRAME.replicaForward,
    join(
      uint32(commands.length),
      ...commands.flatMap((command) => [uint32(command.length), command]),
    ),
  );
}

/** A view of the stranger alone. */
export function viewOf(fields: Partial<View>): View {
  const voters = fields.voters ?? [STORE];
  const node = { id: "stranger", kind: "server", priority: 0 } as const;
  return {
    epoch: NEAR,
    group: STORE,
    voters,
    members: [STORE],
    primary: STORE,
    nodes: { [STORE]: node, ["ffffffffffffffff"]: node },
    reason: `${FORGED}\n`,
    ...fields,
  };
}

/** An epoch as it stands in frames. */
export function epochBytes({ counter, store }: Epoch): Uint8Array {
  return join(uint53(counter), Uint8Array.fromHex(store));
}

function uint32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  writeUint32(bytes, 0, value);
  return bytes;
}

function uint53(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  writeUint53(bytes, 0, value);
  return bytes;
}

/** The beginning of a frame whose payload does not come. */
export function headerOf(kind: number, payloadBytes: number): Uint8Array {
  return join(uint32(payloadBytes + 1), Uint8Array.of(kind));
}

/** All parts after one another. */
export function join(...parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(
    parts.reduce((sum, { length }) => sum + length, 0),
  );
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

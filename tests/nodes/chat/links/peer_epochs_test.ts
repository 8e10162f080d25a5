import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  checkEpochs,
  EPOCHS_AHEAD_MAX,
} from "../../../../nodes/chat/links/peer_checks.ts";
import { WireError } from "../../../../protocol/errors.ts";
import type { ReplicaMessage } from "../../../../protocol/replica.ts";
import { anyMessage } from "../../../protocol/replica_messages.ts";

/** Every epoch's counter in a message, wherever it stands. */
function countersIn(value: unknown): number[] {
  if (typeof value !== "object" || value === null) return [];
  if (ArrayBuffer.isView(value)) return [];
  return Object.entries(value).flatMap(([name, part]) =>
    name === "counter" && typeof part === "number" ? [part] : countersIn(part)
  );
}

function isTaken(message: ReplicaMessage, counter: number): boolean {
  try {
    checkEpochs(message, counter);
    return true;
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    assertEquals(error.code, "invalid-message");
    return false;
  }
}

Deno.test("peer epochs: a message is taken if none of its epochs is far ahead", () => {
  fc.assert(
    fc.property(anyMessage, fc.maxSafeNat(), (message, counter) => {
      const highest = Math.max(0, ...countersIn(message));
      const isNear = highest <= counter + EPOCHS_AHEAD_MAX;
      assertEquals(isTaken(message, counter), isNear);
      // The last that is taken, and the first that is not.
      const least = highest - EPOCHS_AHEAD_MAX;
      assertEquals(isTaken(message, least), true);
      if (highest > 0) assertEquals(isTaken(message, least - 1), false);
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("peer epochs: one far ahead is refused with both numbers", () => {
  const epoch = { counter: 2 ** 52, store: "00c0ffee00c0ffee" };
  const error = assertThrows(
    () => checkEpochs({ kind: "prepare", epoch }, 7),
    WireError,
  );
  assertEquals(
    error.message,
    "Cannot take prepare: its epoch counter is 4503599627370496, limit is 1099511627783",
  );
});

import { assertEquals, assertLess } from "@std/assert";
import { OwnEvent } from "../../../nodes/mesh/own_event.ts";
import { RecentEvents } from "../../../nodes/mesh/recent_events.ts";
import { formatMeshEvent } from "../../../protocol/mesh_event.ts";
import type { MeshEvent, RelayedEvent } from "../../../protocol/mesh_peer.ts";

const BOUNDS = { eventsMax: 1_000, bytesMax: 1_048_576, ageMsMax: 1_000 };

function eventOf(n: number, text: string): MeshEvent {
  const origin = { id: "B", generation: 1 };
  const body = { kind: "msg", from: "Dana", text } as const;
  return { origin, n, messages: n, time: 1_732_199_912_345, body };
}

/** As another server sends it, with a field that this version does not know. */
function received(n: number, padding: string): RelayedEvent {
  const event = eventOf(n, "hi");
  const json = formatMeshEvent(event).replace("{", `{"more":"${padding}",`);
  return { via: ["B"], event, json };
}

Deno.test("mesh recent events: what is kept is bounded by all its bytes, those of unknown fields too", () => {
  const recent = new RecentEvents(BOUNDS);
  const padding = "x".repeat(60_000);
  let kept = 0;
  for (let n = 1; n <= 100; n++) recent.push(received(n, padding), 0);
  for (const { json } of recent.from(recent.oldest?.event.n ?? 0)) {
    kept += json.length;
  }
  assertLess(0, recent.count);
  assertLess(kept, BOUNDS.bytesMax);
  assertLess(recent.bytes, BOUNDS.bytesMax + 1);
});

Deno.test("mesh recent events: what went in is taken off again, encoded meanwhile or not", () => {
  const recent = new RecentEvents(BOUNDS);
  for (let n = 1; n <= 100; n++) {
    const own = new OwnEvent(["B"], eventOf(n, '"'.repeat(n)));
    recent.push(own, 0);
    assertEquals(own.json, formatMeshEvent(own.event));
    recent.push(received(n, ""), 0);
  }
  recent.age(2 * BOUNDS.ageMsMax);
  assertEquals([recent.count, recent.bytes], [0, 0]);
});

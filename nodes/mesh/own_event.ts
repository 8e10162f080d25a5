/** Events of this very server: most are never read back. */

import type { NodeId } from "../../protocol/ids.ts";
import { formatMeshEvent } from "../../protocol/mesh_event.ts";
import type { MeshEvent, RelayedEvent } from "../../protocol/mesh_peer.ts";

/** An event of this server, encoded when the first other one is to get it. */
export class OwnEvent implements RelayedEvent {
  readonly via: readonly NodeId[];
  readonly event: MeshEvent;
  #json: string | undefined = undefined;

  constructor(via: readonly NodeId[], event: MeshEvent) {
    this.via = via;
    this.event = event;
  }

  get json(): string {
    return this.#json ??= formatMeshEvent(this.event);
  }
}

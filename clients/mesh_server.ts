/** The mesh server that a command talks to: the first of those given, or found, that answers. */

import { type Address, formatAddress } from "../protocol/address.ts";
import { WireError } from "../protocol/errors.ts";
import type { Log } from "../nodes/host/log.ts";
import { askService } from "./asked_servers.ts";
import { meshAddresses, nobody } from "./found_groups.ts";
import { MeshConnection } from "./mesh_connection.ts";
import { NodeSearch } from "./node_search.ts";
import type { WhereSettings } from "./where_flags.ts";

/** How long servers may take to answer where none is named. */
const SEARCH_WAIT_MS = 1_000;

/**
 * Connects to one.
 *
 * @throws {WireError} None is found, none is reached, or it is of a chat group.
 */
export async function connectMesh(
  where: Pick<WhereSettings, "connect" | "search">,
  { log, waitMs }: { readonly log: Log; readonly waitMs: number },
): Promise<MeshConnection> {
  const addresses = where.connect.length > 0
    ? where.connect
    : await findMesh(where, log);
  let problem: WireError | undefined;
  for (const address of addresses) {
    try {
      if (await askService([address], waitMs) === "mesh") {
        return await MeshConnection.connect(address);
      }
      problem ??= new WireError(
        "role-mismatch",
        `The server at ${
          formatAddress(address)
        } is of a chat group; a mesh server is wanted`,
      );
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      problem ??= error;
    }
  }
  throw problem ?? new WireError("wrong-node", nobody(where.search));
}

async function findMesh(
  { search }: Pick<WhereSettings, "search">,
  log: Log,
): Promise<readonly Address[]> {
  using nodes = new NodeSearch({ ...search, service: "mesh", log });
  const [mesh] = (await nodes.firstGroup(SEARCH_WAIT_MS)).meshes;
  return mesh === undefined ? [] : meshAddresses(mesh);
}

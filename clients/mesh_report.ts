/** What the answers of mesh servers say together, as lines and as an object. */

import type { ListedServer, MeshStatus } from "../protocol/mesh.ts";
import { escapeText } from "../nodes/host/text.ts";
import { serverLines } from "./mesh_shown.ts";
import type { StatusAnswer } from "./status_report.ts";

/** What came back from a mesh server. */
export interface MeshStatusAnswer {
  readonly address: string;
  readonly mesh: MeshStatus;
}

/** A mesh as its servers see it. */
export interface MeshReport {
  readonly lines: readonly string[];
  /** Whether one of those that answered takes clients. */
  readonly isOpen: boolean;
  /** For programs: nothing is cut. */
  readonly object: object;
}

/**
 * Puts the answers together: the table is that of the first, and where others
 * see something else it is said.
 *
 * @param notes What is known beside the answers; sentences.
 */
export function meshReport(
  answers: readonly (StatusAnswer | MeshStatusAnswer)[],
  notes: readonly string[] = [],
): MeshReport {
  const answered = answers.flatMap((one) => "mesh" in one ? [one.mesh] : []);
  const remarks = [
    ...notes,
    ...answers.flatMap((one) =>
      "problem" in one ? [`${one.address}: ${one.problem}`] : []
    ),
    ...disagreements(answered),
  ];
  const [first] = answered;
  if (first === undefined) throw new Error("No mesh server has answered");
  const { cluster, topology, servers } = first;
  const up = servers.filter((server) => server.up);
  const clients = up.reduce((sum, server) => sum + server.clients, 0);
  const head =
    `Mesh ${cluster}, topology ${topology}: ${up.length} of ${servers.length} servers up, ${clients} clients`;
  const lines = [head, "", ...serverLines(first)];
  if (remarks.length > 0) lines.push("", ...remarks);
  return {
    lines: lines.map(escapeText),
    isOpen: answered.some(({ draining }) => !draining),
    object: { service: "mesh", answers, remarks },
  };
}

/** What one server sees and another does not: a partition, or a moment. */
function disagreements([first, ...others]: readonly MeshStatus[]): string[] {
  if (first === undefined) return [];
  return others.flatMap((other) => {
    const seen = namesOf(other.servers);
    if (seen === namesOf(first.servers) && other.topology === first.topology) {
      return [];
    }
    return [
      `Server ${other.server} sees another mesh: topology ${other.topology}, up: ${seen}`,
    ];
  });
}

function namesOf(servers: readonly ListedServer[]): string {
  return servers.filter(({ up }) => up).map(({ id }) => id).sort().join(", ");
}

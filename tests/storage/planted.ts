/** Storage with a bug planted into it, to see the checkers fail. */

import { plant as plantIn, type Planted } from "../plant.ts";

export type { Planted };

/**
 * Copies `storage/` with a bug in one of its files, named without the folder.
 *
 * @returns The copy's directory, to be removed by the caller.
 */
export function plant(bug: Planted): string {
  const directory = plantIn(["storage"], {
    ...bug,
    file: `storage/${bug.file}`,
  });
  const copy = `${directory}_storage`;
  Deno.renameSync(`${directory}/storage`, copy);
  Deno.removeSync(directory);
  return copy;
}

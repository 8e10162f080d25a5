/** What nodes leave behind: log lines, files and pages, and what must not be in them. */

import { Buffer } from "node:buffer";
import { assert, assertEquals } from "@std/assert";
import type { AdminPage } from "../admin_page.ts";

/** What is looked at of a node; a `ChatNode` has it. */
export interface Traced {
  readonly name: string;
  readonly process: { readonly lines: readonly string[] };
  readonly place: { readonly data: string };
  page(path: string): Promise<AdminPage | undefined>;
}

/** Begins every text by which a test tries to forge a line of a log. */
export const FORGED = "FORGED";

// C0 and C1 with DEL, separators of lines, marks that turn the direction.
const UNSAFE = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f]/u;

/** Every line that a node has logged is one of its own, and shows what it says. */
export function assertHonestLogs(
  nodes: readonly Pick<Traced, "name" | "process">[],
): void {
  for (const node of nodes) {
    for (const line of node.process.lines) {
      const fields: unknown = JSON.parse(line);
      assert(typeof fields === "object" && fields !== null, line);
      assert(!UNSAFE.test(line), line);
      const [time, level, name, message] = Object.entries(fields);
      assertEquals(
        [time[0], level[0], name, message[0]],
        ["time", "level", ["node", node.name], "message"],
        line,
      );
      assert(!String(message[1]).startsWith(FORGED), line);
    }
  }
}

/** None of these texts is in a log, on a page or in a file of the nodes. */
export async function assertNowhere(
  nodes: readonly Traced[],
  texts: readonly string[],
): Promise<void> {
  for (const node of nodes) {
    const pages = ["/state", "/metrics", "/readyz"];
    const found = await Promise.all(pages.map((page) => node.page(page)));
    for (const text of texts) {
      assertEquals(
        node.process.lines.filter((line) => line.includes(text)),
        [],
        `${node.name} logs ${text}`,
      );
      for (const [at, page] of found.entries()) {
        assert(page !== undefined, `${node.name} has no page ${pages[at]}`);
        assert(!page.text.includes(text), `${text} in ${pages[at]}`);
      }
    }
    for (const path of filesIn(node.place.data)) {
      const bytes = bytesOf(path);
      for (const text of texts) {
        assert(!bytes.includes(text), `${text} in ${path}`);
      }
    }
  }
}

/** A file's bytes; none if the node, which runs, has deleted it (compaction). */
function bytesOf(path: string): Buffer {
  try {
    return Buffer.from(Deno.readFileSync(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return Buffer.alloc(0);
    throw error;
  }
}

function filesIn(folder: string): string[] {
  return Array.from(Deno.readDirSync(folder)).flatMap(
    ({ name, isDirectory }) =>
      isDirectory ? filesIn(`${folder}/${name}`) : [`${folder}/${name}`],
  );
}

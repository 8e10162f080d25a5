/** What a machine can check of how the code is kept. */

import { assert, assertEquals } from "@std/assert";

const TOP = new URL("../", import.meta.url);
const LINES_MAX = 600;

/** Folders in the order in which they may import: each only from itself and those after it. */
const LAYERS: readonly (readonly [string, readonly string[]])[] = [
  ["main.ts", ["nodes", "clients"]],
  ["clients", ["clients", "nodes/host", "storage", "protocol"]],
  ["nodes/witness", [
    "nodes/witness",
    "nodes/chat",
    "nodes/host",
    "storage",
    "election",
    "protocol",
  ]],
  ["nodes/chat", [
    "nodes/chat",
    "nodes/host",
    "storage",
    "election",
    "protocol",
  ]],
  ["nodes/chain", ["nodes/chain", "nodes/host", "storage", "protocol"]],
  ["nodes/mesh", ["nodes/mesh", "nodes/host", "storage", "protocol"]],
  ["nodes/host", ["nodes/host", "storage", "protocol", "deno.json"]],
  ["storage", ["storage", "protocol"]],
  ["election", ["election", "protocol"]],
  ["protocol", ["protocol"]],
  ["deploy", ["deploy", "protocol", "nodes/host", "deno.json"]],
  ["std", ["std"]],
];

/** What no core may touch: it would differ between two runs. */
const IMPURE: readonly RegExp[] = [
  /\bDeno\./,
  /\bDate\b/,
  /\bperformance\./,
  /\bMath\.random\b/,
  /\bcrypto\./,
  /\b(?:set|clear)(?:Timeout|Interval)\b/,
  /\bconsole\./,
  /\bfetch\(/,
  /\basync\b/,
  /\bawait\b/,
  /\bPromise\b/,
];

/** Built-in modules that compute and do nothing else. */
const PURE_BUILTINS: readonly string[] = ["node:buffer", "node:crypto"];
const PURE_PACKAGES: readonly string[] = ["typebox", "typebox/compile"];

interface Source {
  readonly path: string;
  readonly text: string;
}

const sources = readSources();

Deno.test("tidy: imports point one way", () => {
  const wrong: string[] = [];
  for (const source of sources) {
    const layer = LAYERS.find(([folder]) => isIn(source.path, folder));
    if (layer === undefined) continue;
    for (const target of importsOf(source)) {
      if (!target.startsWith("./") && !target.startsWith("../")) continue;
      const path = resolve(source.path, target);
      if (!layer[1].some((folder) => isIn(path, folder))) {
        wrong.push(`${source.path} imports ${path}`);
      }
    }
  }
  assertEquals(wrong, []);
});

Deno.test("tidy: cores and what they import are pure", () => {
  const wrong: string[] = [];
  for (const source of sources) {
    if (!pureFiles().has(source.path)) continue;
    wrong.push(...impurities(source));
  }
  assertEquals(wrong, []);
});

Deno.test("tidy: an impure core is noticed", () => {
  const text = 'import fs from "node:fs";\nexport const now = Date.now();\n';
  const found = impurities({ path: "nodes/x/core.ts", text });
  assertEquals(found.length, 2);
});

Deno.test("tidy: a comment that names a clock is no clock", () => {
  const text = "/** Never Date.now(). */\n// nor await\nexport const a = 1;\n";
  assertEquals(impurities({ path: "protocol/a.ts", text }), []);
});

Deno.test(`tidy: no file has more than ${LINES_MAX} lines`, () => {
  const wrong = sources
    .map(({ path, text }) => ({ path, lines: text.split("\n").length - 1 }))
    .filter(({ lines }) => lines > LINES_MAX);
  assertEquals(wrong, []);
});

Deno.test("tidy: no barrels, no utils, every file says what it is for", () => {
  const wrong: string[] = [];
  for (const { path, text } of sources) {
    if (/(?:^|\/)(?:utils?|helpers?|index|manager)\.ts$/.test(path)) {
      wrong.push(`${path}: a name that says nothing`);
    }
    if (!isIn(path, "tests") && !isIn(path, "std") && !text.startsWith("/**")) {
      wrong.push(`${path}: no module line`);
    }
    const bare = code(text).replaceAll(
      /"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`/g,
      '""',
    );
    if (
      !isIn(path, "std") &&
      /\bas any\b|: any[,;)\s=]|@ts-(?:ignore|nocheck)/.test(bare)
    ) {
      wrong.push(`${path}: any, or a check switched off`);
    }
  }
  assertEquals(wrong, []);
});

Deno.test("tidy: the pages name files that are there", () => {
  const wrong: string[] = [];
  for (const page of ["README.md", "protocol/WIRE.md", "storage/FORMAT.md"]) {
    const text = Deno.readTextFileSync(new URL(page, TOP));
    for (const [, target] of text.matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const path = resolve(page, `./${target}`);
      if (!exists(path)) wrong.push(`${page} points to ${path}`);
    }
  }
  assertEquals(wrong, []);
});

Deno.test("tidy: the source was found", () => {
  assert(sources.length > 40, `only ${sources.length} files`);
  assert(pureFiles().has("nodes/chain/source.ts"), "no core was found");
});

function readSources(): Source[] {
  const found: Source[] = [];
  const walk = (folder: string) => {
    for (const entry of Deno.readDirSync(new URL(folder, TOP))) {
      if (entry.name.startsWith(".") || entry.name === "node_modules") continue;
      if (entry.name === "dist") continue;
      const path = `${folder}${entry.name}`;
      if (entry.isDirectory) walk(`${path}/`);
      else if (path.endsWith(".ts")) {
        found.push({ path, text: Deno.readTextFileSync(new URL(path, TOP)) });
      }
    }
  };
  walk("");
  return found;
}

/** All of `protocol/` and `election/`, and every core with what it imports. */
function pureFiles(): Set<string> {
  const pure = new Set(
    sources.map(({ path }) => path).filter((path) =>
      isIn(path, "protocol") || isIn(path, "election") ||
      /(?:^|[/_])core\.ts$/.test(path) && !isIn(path, "tests")
    ),
  );
  for (const path of pure) {
    const source = sources.find((candidate) => candidate.path === path);
    if (source === undefined) throw new Error(`${path} is not there`);
    for (const target of importsOf(source)) {
      if (target.startsWith(".")) pure.add(resolve(path, target));
    }
  }
  return pure;
}

function impurities(source: Source): string[] {
  const text = code(source.text);
  const found = IMPURE.filter((pattern) => pattern.test(text))
    .map((pattern) => `${source.path} matches ${pattern}`);
  for (const target of importsOf(source)) {
    if (target.startsWith(".") || PURE_PACKAGES.includes(target)) continue;
    if (!PURE_BUILTINS.includes(target)) {
      found.push(`${source.path} imports ${target}`);
    }
  }
  return found;
}

function importsOf({ text }: Source): string[] {
  // A name in a message, `from "${peer}"`, is no module.
  const pattern = /(?:^|\s)(?:from|import)\s*\(?\s*"([^"$]+)"/g;
  return Array.from(code(text).matchAll(pattern), (match) => match[1]);
}

/** Without comments. */
function code(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, "").replaceAll(
    /(^|\s)\/\/.*$/gm,
    "",
  );
}

function resolve(from: string, target: string): string {
  const path = new URL(target, new URL(from, TOP)).href;
  return decodeURIComponent(path.slice(TOP.href.length));
}

function isIn(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

function exists(path: string): boolean {
  try {
    Deno.statSync(new URL(path, TOP));
    return true;
  } catch {
    return false;
  }
}

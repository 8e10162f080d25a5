import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { load, loadSync } from "@std/dotenv";

/** Runs a test with a file, and takes both it and what it sets away again. */
async function withFile(
  text: string,
  test: (path: string) => unknown,
): Promise<void> {
  const path = await Deno.makeTempFile({ suffix: ".env" });
  try {
    await Deno.writeTextFile(path, text);
    await test(path);
  } finally {
    await Deno.remove(path);
    for (const name of ["SKEIN_STD_A", "SKEIN_STD_B"]) Deno.env.delete(name);
  }
}

const both = { load, loadSync };

for (const [name, read] of Object.entries(both)) {
  Deno.test(`${name}: returns the values, and sets none unasked`, () =>
    withFile("SKEIN_STD_A=1\n", async (envPath) => {
      assertEquals(await read({ envPath }), { SKEIN_STD_A: "1" });
      assertEquals(Deno.env.get("SKEIN_STD_A"), undefined);
    }));

  Deno.test(`${name}: with export sets what is not set yet`, () =>
    withFile("SKEIN_STD_A=1\nSKEIN_STD_B=2\n", async (envPath) => {
      Deno.env.set("SKEIN_STD_B", "");
      assertEquals(await read({ envPath, export: true }), {
        SKEIN_STD_A: "1",
        SKEIN_STD_B: "2",
      });
      assertEquals(Deno.env.get("SKEIN_STD_A"), "1");
      assertEquals(Deno.env.get("SKEIN_STD_B"), "");
    }));

  Deno.test(`${name}: takes a file's URL`, () =>
    withFile("SKEIN_STD_A=1\n", async (path) => {
      const envPath = new URL(`file://${path}`);
      assertEquals(await read({ envPath }), { SKEIN_STD_A: "1" });
    }));

  Deno.test(`${name}: without a file there are no values`, () =>
    withFile("", async (path) => {
      assertEquals(await read({ envPath: `${path}.not` }), {});
      assertEquals(await read({ envPath: null }), {});
    }));
}

Deno.test("load: a path that is no file is an error", () =>
  withFile("", async (path) => {
    const envPath = `${path}/.env`;
    await assertRejects(() => load({ envPath }), Deno.errors.NotADirectory);
    assertThrows(() => loadSync({ envPath }), Deno.errors.NotADirectory);
  }));

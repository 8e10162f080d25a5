import { assertEquals, assertRejects } from "@std/assert";
import { toText as toTextOfAll } from "@std/streams";
import { toText } from "@std/streams/to-text";

Deno.test("toText: joins texts", async () => {
  assertEquals(await toText(ReadableStream.from(["a", "", "b\n"])), "ab\n");
  assertEquals(await toText(ReadableStream.from<string>([])), "");
});

Deno.test("toText: decodes bytes, whole or byte by byte", async () => {
  const bytes = new TextEncoder().encode("é☃😀");
  const single = [...bytes].map((byte) => Uint8Array.of(byte));
  assertEquals(await toText(ReadableStream.from([bytes])), "é☃😀");
  assertEquals(await toText(ReadableStream.from(single)), "é☃😀");
});

Deno.test("toText: bytes that end too early show", async () => {
  const bytes = Uint8Array.of(0x61, 0xe2, 0x98);
  assertEquals(await toText(ReadableStream.from([bytes])), "a\uFFFD");
});

Deno.test("toText: fails as its stream fails", async () => {
  const stream = new ReadableStream<string>({
    start: (controller) => controller.error(new RangeError("cut off")),
  });
  await assertRejects(() => toText(stream), RangeError, "cut off");
});

Deno.test("toText: is exported whole and by itself", () => {
  assertEquals(toTextOfAll, toText);
});

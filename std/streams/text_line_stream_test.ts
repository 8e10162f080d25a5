import { assertEquals } from "@std/assert";
import { TextLineStream as TextLineStreamOfAll } from "@std/streams";
import { TextLineStream } from "@std/streams/text-line-stream";

function lines(chunks: string[]): Promise<string[]> {
  return Array.fromAsync(
    ReadableStream.from(chunks).pipeThrough(new TextLineStream()),
  );
}

const CASES: Record<string, [string, string[]]> = {
  "nothing": ["", []],
  "one line, not ended": ["a", ["a"]],
  "one line, ended": ["a\n", ["a"]],
  "both endings": ["a\nb\r\nc", ["a", "b", "c"]],
  "empty lines": ["\n\na\r\n\r\nb\n", ["", "", "a", "", "b"]],
  "a \\r within a line": ["a\rb\r\rc\r\r\nd", ["a\rb\r\rc\r", "d"]],
  "a \\r at the very end": ["a\nb\r", ["a", "b\r"]],
  "letters of two units": ["é☃😀\n😀", ["é☃😀", "😀"]],
};

for (const [name, [text, expected]] of Object.entries(CASES)) {
  Deno.test(`TextLineStream: divides ${name}, whole or unit by unit`, async () => {
    assertEquals(await lines([text]), expected);
    assertEquals(await lines(text.split("")), expected);
    assertEquals(await lines(["", text, ""]), expected);
  });
}

Deno.test("TextLineStream: does not wait for the next line", async () => {
  const stream = new TextLineStream();
  const writer = stream.writable.getWriter();
  const reader = stream.readable.getReader();
  const written = writer.write("a\nb");
  assertEquals(await reader.read(), { done: false, value: "a" });
  await written;
  await Promise.all([writer.close(), reader.read()]);
  assertEquals(await reader.read(), { done: true, value: undefined });
});

Deno.test("TextLineStream: two streams do not share a line", async () => {
  assertEquals(await lines(["a"]), ["a"]);
  assertEquals(await lines(["b"]), ["b"]);
});

Deno.test("TextLineStream: is exported whole and by itself", () => {
  assertEquals(TextLineStreamOfAll, TextLineStream);
});

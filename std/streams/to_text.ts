import { text } from "node:stream/consumers";

/**
 * Reads a stream to its end.
 *
 * @param stream Texts, or bytes in UTF-8, split anywhere; a byte order mark is
 * dropped, what is not UTF-8 becomes U+FFFD.
 * @returns All of it, so bound what is not trusted.
 * @throws Whatever the stream fails with.
 */
export function toText(
  stream: ReadableStream<string> | ReadableStream<Uint8Array>,
): Promise<string> {
  return text(stream);
}

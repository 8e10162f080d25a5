/**
 * Divides a stream of text into lines, ended by `\n` or `\r\n`, which are left
 * out. The last line needs no ending; after an ending no empty line follows.
 *
 * A line that has begun is kept until its ending arrives, however long it grows:
 * bound untrusted input before this stream.
 *
 * The option `allowCR` of the real one, for lines ended by `\r`, is left out.
 */
export class TextLineStream extends TransformStream<string, string> {
  /** Pipe text in and read one line a chunk. */
  constructor() {
    let begun = "";
    super({
      transform(chunk, controller) {
        const lines = (begun + chunk).split("\n");
        begun = lines.pop() ?? "";
        for (const line of lines) {
          controller.enqueue(line.endsWith("\r") ? line.slice(0, -1) : line);
        }
      },
      flush(controller) {
        if (begun !== "") controller.enqueue(begun);
      },
    });
  }
}

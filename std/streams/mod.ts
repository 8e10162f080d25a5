/** What Skein uses of `@std/streams`: see `std/README.md`. */
export { TextLineStream } from "./text_line_stream.ts";
export { toText } from "./to_text.ts";

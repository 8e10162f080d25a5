/** What Skein uses of `@std/cli`: see `std/README.md`. */
export { type Args, parseArgs, type ParseOptions } from "./parse_args.ts";

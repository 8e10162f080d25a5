/** Times of a bench on its command line. */

import type { FlagValue } from "../../nodes/host/flag_values.ts";

/** A time in seconds, parts of them included. */
export function seconds(
  bounds: { min: number; max: number },
): FlagValue<number> {
  return {
    metavar: "S",
    parse: (text) => {
      const value = Number(text);
      const isNumber = /^\d{1,9}(?:\.\d{1,3})?$/.test(text);
      if (isNumber && value >= bounds.min && value <= bounds.max) return value;
      throw new RangeError(
        `"${text}" is no number of seconds, wanted ${bounds.min} to ${bounds.max}`,
      );
    },
    format: String,
  };
}

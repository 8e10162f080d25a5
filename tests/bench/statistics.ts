/** What a few runs say together. */

/** Middle and ends of several figures. */
export interface Summary {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** @throws {RangeError} When there are no values. */
export function summarize(values: readonly number[]): Summary {
  const sorted = values.toSorted((a, b) => a - b);
  return {
    median: quantile(sorted, 0.5),
    min: sorted[0],
    max: sorted[sorted.length - 1],
  };
}

/**
 * The value below which `share` of `sorted` lies, between its neighbours where
 * it falls between two.
 *
 * @param sorted Smallest first.
 * @param share 0 to 1.
 * @throws {RangeError} When there are no values.
 */
export function quantile(
  sorted: ArrayLike<number>,
  share: number,
): number {
  if (sorted.length === 0) throw new RangeError("Found no values, wanted 1");
  const at = (sorted.length - 1) * share;
  const below = sorted[Math.floor(at)];
  const above = sorted[Math.ceil(at)];
  return below + (above - below) * (at - Math.floor(at));
}

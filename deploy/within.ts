/** Waiting with a bound. */

/** Waits for the first of `events`, at most `waitMs`. */
export async function within(
  waitMs: number,
  events: readonly Promise<unknown>[],
): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const waited = new Promise((resolve) => {
    timer = setTimeout(resolve, waitMs);
  });
  try {
    await Promise.race([...events, waited]);
  } finally {
    clearTimeout(timer);
  }
}

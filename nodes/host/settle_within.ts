/** Waiting, with an end. */

/**
 * Waits for `work`, at most `waitMs`; what becomes of it later is not looked
 * at.
 *
 * @throws What `work` is rejected with in that time.
 */
export async function settleWithin(
  work: Promise<unknown>,
  waitMs: number,
): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, waitMs);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

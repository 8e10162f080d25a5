/** Waiting, with an end. */

/**
 * Resolves as `work` does.
 *
 * @param what The end of "Waited 5 s for …".
 * @throws {Error} When it takes longer; what becomes of it is not looked at.
 */
export async function inTime<T>(
  work: Promise<T>,
  bound: { readonly waitMs: number; readonly what: string },
): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    const text = `Waited ${bound.waitMs / 1_000} s for ${bound.what}`;
    timer = setTimeout(() => reject(new Error(text)), bound.waitMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

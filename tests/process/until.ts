/** Waiting for something to become so, with an end. */

/** Long: a laptop may run all tests at once. */
export const WAIT_MS = 60_000;

const POLL_MS = 4;

/** What a wait says when it fails, and when it fails early. */
export interface UntilOptions {
  /** Default: {@linkcode WAIT_MS}. */
  readonly waitMs?: number;
  /** What else to show: the last log lines, for one. */
  readonly context?: () => string;
  /** Why it can no longer come; undefined while it can. */
  readonly hopeless?: () => string | undefined;
}

type Found<T> = Exclude<T, undefined | false>;

/**
 * Looks again and again until `look` finds something.
 *
 * @param what What is waited for, as a sentence: "the head is ready".
 * @param look Returns undefined or false as long as it is not so.
 * @returns What `look` found.
 * @throws {Error} When it is not so within `waitMs`.
 */
export async function until<T>(
  what: string,
  look: () => T | Promise<T>,
  options: UntilOptions = {},
): Promise<Found<T>> {
  const { waitMs = WAIT_MS, context, hopeless } = options;
  const deadlineMs = performance.now() + waitMs;
  const fail = (why: string) => {
    const more = context === undefined ? "" : `\n${context()}`;
    return new Error(`Waited for "${what}": ${why}${more}`);
  };
  for (;;) {
    const found = await look();
    if (isFound(found)) return found;
    const reason = hopeless?.();
    if (reason !== undefined) throw fail(reason);
    if (performance.now() > deadlineMs) {
      throw fail(`it is not so after ${waitMs} ms`);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** `work`, which must be done within `waitMs`. */
export async function bounded<T>(
  what: string,
  work: Promise<T>,
  options: UntilOptions = {},
): Promise<T> {
  const { waitMs = WAIT_MS, context } = options;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const more = context === undefined ? "" : `\n${context()}`;
      reject(
        new Error(`Waited for "${what}": not done after ${waitMs} ms${more}`),
      );
    }, waitMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function isFound<T>(value: T): value is Found<T> {
  return value !== undefined && value !== false;
}

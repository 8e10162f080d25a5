/** Failures of the network, as opposed to mistakes of the code. */

/** Whether the system said no, and not the code that asked it. */
export function isNetworkError(error: unknown): boolean {
  return error instanceof Error && !(error instanceof TypeError) &&
    !(error instanceof RangeError);
}

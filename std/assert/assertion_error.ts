/** The error every failed assertion throws. */
export class AssertionError extends Error {
  /**
   * @param message What was expected and what was found.
   * @param options `cause`, where there is one.
   */
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "AssertionError";
  }
}

/** `skein send` as a child process. */

import { RunningProcess } from "./running_process.ts";

/** What it says in the end. */
export interface Summary {
  readonly sent: number;
  readonly delivered: number;
  readonly resent: number;
  /** Lines that could not be sent; 0 when it speaks of none. */
  readonly leftOut: number;
  readonly seconds: number;
}

/** What became of a run. */
export interface Outcome extends Summary {
  readonly code: number;
}

const SUMMARY =
  /^sent (\d+), delivered (\d+), resent (\d+)(?:, left out (\d+))?, (\d+\.\d\d) s$/;

/** One run of `skein send`. */
export class SendProcess extends RunningProcess {
  /** Waits for its end, and reads its summary. */
  async outcome(waitMs?: number): Promise<Outcome> {
    const { code } = await this.ended(waitMs);
    return { code, ...this.summary() };
  }

  /** The one line that is a summary, read. */
  summary(): Summary {
    const [match, ...others] = this.lines.map((line) => SUMMARY.exec(line))
      .filter((found) => found !== null);
    if (match === undefined || others.length > 0) {
      throw new Error(`Not one line is a summary:\n${this.describe()}`);
    }
    const [, sent, delivered, resent, leftOut = "0", seconds] = match;
    return {
      sent: Number(sent),
      delivered: Number(delivered),
      resent: Number(resent),
      leftOut: Number(leftOut),
      seconds: Number(seconds),
    };
  }
}

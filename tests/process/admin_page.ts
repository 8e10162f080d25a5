/** Pages of a node's admin port. */

import { get } from "node:http";

const ANSWER_WAIT_MS = 2_000;

/** An answer of the admin port. */
export interface AdminPage {
  readonly status: number;
  readonly text: string;
}

/**
 * Asks for one page; undefined when nobody answers. By `node:http`, because
 * `fetch` would go through `HTTP_PROXY`.
 */
export function adminPage(
  address: string,
  path: string,
): Promise<AdminPage | undefined> {
  return new Promise((resolve) => {
    const fail = () => resolve(undefined);
    const request = get(
      `http://${address}${path}`,
      { agent: false, signal: AbortSignal.timeout(ANSWER_WAIT_MS) },
      (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (part: string) => text += part);
        response.on("error", fail);
        response.on(
          "end",
          () => resolve({ status: response.statusCode ?? 0, text }),
        );
      },
    );
    request.on("error", fail);
  });
}

/** The admin port: health, readiness, metrics and state, over HTTP. */

import type { Registry } from "prom-client";
import {
  type Address,
  formatAddress,
  isPrivateAddress,
} from "../../protocol/address.ts";
import type { Log } from "./log.ts";
import { StartError } from "./process.ts";
import { settleWithin } from "./settle_within.ts";

/** Whether a node can do its job, and if not, why. */
export interface Readiness {
  readonly ready: boolean;
  /** What is missing, one sentence each; empty when ready. */
  readonly reasons: readonly string[];
}

/** What the pages are made from. */
export interface AdminPages {
  readonly nodeId: string;
  readonly role: string;
  readonly readiness: () => Readiness;
  /** Anything that JSON can hold; bigints become strings. */
  readonly state: () => unknown;
  readonly registry: Registry;
  readonly log: Log;
}

/** The pages, and where to serve them. */
export interface AdminOptions extends AdminPages {
  /** Port 0 lets the system choose. */
  readonly listen: Address;
}

/** An open admin port. */
export interface Admin {
  /** Where it listens, with the port that the system chose. */
  readonly address: Address;
  /** Stops within a second, whoever is still connected. */
  close(): Promise<void>;
}

/** How long answers under way are waited for. */
const DRAIN_MS = 300;
/** How long an answer that is made may take to be sent. */
const SEND_MS = 20;

const PATHS: ReadonlyMap<string, string> = new Map([
  ["/healthz", "200 while the process runs"],
  ["/readyz", "200 while the node can do its job, else 503 with the reasons"],
  ["/metrics", "metrics for Prometheus"],
  ["/state", "the node's state as JSON"],
]);

/**
 * Opens the admin port.
 *
 * @throws {StartError} When the address is taken or cannot be used; `cause` has the
 *   system's error.
 */
export function startAdmin(options: AdminOptions): Admin {
  const { listen, log } = options;
  const abort = new AbortController();
  const open = new Set<Promise<Response>>();
  const server = serve(options, {
    signal: abort.signal,
    answer: (request, remoteHost) => {
      const answering = answerAdmin(request, {
        pages: options,
        remoteHost,
        ownHost: listen.host,
      });
      open.add(answering);
      const done = () => open.delete(answering);
      answering.then(done, done);
      return answering;
    },
  });
  const { hostname, port } = server.addr;
  const address = { host: hostname, port };
  log.debug("Opened the admin port", { address: formatAddress(address) });

  // Not by `server.shutdown`: it waits for idle connections for ever, and
  // cannot be cut short.
  async function close(): Promise<void> {
    if (open.size > 0) {
      await settleWithin(Promise.allSettled(open), DRAIN_MS);
      await new Promise((resolve) => setTimeout(resolve, SEND_MS));
    }
    abort.abort();
    await settleWithin(server.finished, DRAIN_MS);
  }
  let closed: Promise<void> | undefined;
  return { address, close: () => closed ??= close() };
}

function serve(
  options: AdminOptions,
  how: {
    signal: AbortSignal;
    answer: (request: Request, remoteHost: string) => Promise<Response>;
  },
): Deno.HttpServer<Deno.NetAddr> {
  const { listen, log } = options;
  try {
    return Deno.serve({
      hostname: listen.host,
      port: listen.port,
      signal: how.signal,
      onListen: () => {},
      onError: (error) => {
        log.error("Cannot answer on the admin port", { error });
        return answer({
          status: 500,
          text: "The node cannot answer this now\n",
        });
      },
    }, (request, info) => how.answer(request, info.remoteAddr.hostname));
  } catch (error) {
    throw new StartError(
      `Cannot open the admin port at "${formatAddress(listen)}": ${
        error instanceof Error ? error.message : String(error)
      }`,
      { cause: error },
    );
  }
}

/** Who asks, and for whose pages. */
export interface AdminCaller {
  readonly pages: AdminPages;
  /** The IP address that asks. */
  readonly remoteHost: string;
  /** The host that the port was opened at: always a name for it. */
  readonly ownHost: string;
}

/** Answers one request; apart from the server, for tests. */
export async function answerAdmin(
  request: Request,
  caller: AdminCaller,
): Promise<Response> {
  const { pages, remoteHost } = caller;
  if (!isPrivateAddress(remoteHost)) {
    return answer({
      status: 403,
      text: "Only loopback, link-local and private addresses may ask here\n",
    });
  }
  const host = request.headers.get("host");
  if (host !== null && !isLocalHost(host, caller.ownHost)) {
    return answer({
      status: 403,
      text: "Ask by IP address, by a local name, or by the name in --admin\n",
    });
  }
  const { pathname } = new URL(request.url);
  if (pathname !== "/" && !PATHS.has(pathname)) {
    return answer({ status: 404, text: indexPage(pages) });
  }
  if (request.method !== "GET" && request.method !== "HEAD") {
    const response = answer({ status: 405, text: "Only GET and HEAD\n" });
    response.headers.set("allow", "GET, HEAD");
    return response;
  }
  const page = await pageAt(pathname, pages);
  return answer({ ...page, headOnly: request.method === "HEAD" });
}

interface Page {
  readonly status: number;
  readonly text: string;
  /** Default: plain text. */
  readonly type?: string;
  readonly headOnly?: boolean;
}

async function pageAt(path: string, pages: AdminPages): Promise<Page> {
  switch (path) {
    case "/healthz":
      return { status: 200, text: "ok\n" };
    case "/readyz": {
      const { ready, reasons } = pages.readiness();
      return { status: ready ? 200 : 503, ...json({ ready, reasons }) };
    }
    case "/metrics": {
      const text = await pages.registry.metrics();
      return { status: 200, text, type: pages.registry.contentType };
    }
    case "/state":
      return { status: 200, ...json(pages.state()) };
    default:
      return { status: 200, text: indexPage(pages) };
  }
}

function json(value: unknown): { text: string; type: string } {
  const text = JSON.stringify(
    value,
    (_key, item) => typeof item === "bigint" ? String(item) : item,
    2,
  );
  return {
    text: `${text ?? null}\n`,
    type: "application/json; charset=utf-8",
  };
}

function indexPage(pages: AdminPages): string {
  const lines = [...PATHS].map(([path, about]) => `${path.padEnd(9)} ${about}`);
  return `skein-${pages.role} ${pages.nodeId}\n\n${lines.join("\n")}\n`;
}

function answer(page: Page): Response {
  const bytes = new TextEncoder().encode(page.text);
  return new Response(page.headOnly ? null : bytes, {
    status: page.status,
    headers: {
      "content-type": page.type ?? "text/plain; charset=utf-8",
      "content-length": String(bytes.length),
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
    },
  });
}

/**
 * Whether a `Host` header cannot belong to a page from the internet. A page
 * whose public name is pointed at this port after it was loaded (DNS
 * rebinding) could otherwise read all of this in a browser; it still asks under
 * its public name.
 */
function isLocalHost(host: string, ownHost: string): boolean {
  const name = host.replace(/:\d*$/, "").toLowerCase();
  return name === ownHost.toLowerCase() ||
    /^\[[\da-f:.%]+\]$/.test(name) || /^\d{1,3}(?:\.\d{1,3}){3}$/.test(name) ||
    /^[\w-]+$/.test(name) ||
    /\.(?:localhost|local|internal|lan|home\.arpa|svc|test)\.?$/.test(name);
}

/** The head of an HTTP request on the port where lines are spoken: a WebSocket's, a browser's, a stray one. */

import { Buffer } from "node:buffer";
import { isLoopbackAddress } from "../../../protocol/address.ts";
import type { Link } from "../../host/link.ts";

/** Bytes of a request's head: a browser's has one or two KiB. */
export const HEAD_BYTES_MAX = 8_192;

/** How long a head may take: it is written in one go. */
export const HEAD_WAIT_MS = 5_000;

const REQUEST_LINE = /^([!#$%&'*+.^_`|~0-9A-Z-]+) (\S+) HTTP\/\d/i;
const HEADER_LINE = /^([!#$%&'*+.^_`|~0-9A-Z-]+):[ \t]*(.*?)[ \t]*$/i;
const END_OF_HEAD = Buffer.from("\r\n\r\n");

/** A request that was read; what followed its head may be there in part. */
export interface HttpRequest {
  readonly method: string;
  /** Without what follows a question mark. */
  readonly path: string;
  readonly target: string;
  /** Names in lower case; of a name that comes twice the values, with commas. */
  readonly headers: Readonly<Record<string, string>>;
  readonly rest: Uint8Array;
}

/** What a connection speaks: lines, beginning with these bytes; HTTP; or nothing that can be answered but so. */
export type Opening =
  | { readonly kind: "lines"; readonly first: Uint8Array }
  | { readonly kind: "http"; readonly request: HttpRequest }
  | { readonly kind: "refused"; readonly answer: Uint8Array };

/** Whether these first bytes could be the beginning of an HTTP request. */
export function mayBeHttp(first: Uint8Array): boolean {
  const [byte] = first;
  const isUpper = byte >= 0x41 && byte <= 0x5a;
  const isLower = byte >= 0x61 && byte <= 0x7a;
  return isUpper || isLower;
}

/**
 * Reads on until it is known what a connection speaks.
 *
 * @param first What was read already; {@linkcode mayBeHttp}.
 * @returns Undefined when it is gone, or took longer than {@linkcode HEAD_WAIT_MS}.
 */
export async function readOpening(
  link: Link,
  first: Uint8Array,
): Promise<Opening | undefined> {
  let bytes = Buffer.from(first);
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    link.abort();
  }, HEAD_WAIT_MS);
  const buffer = new Uint8Array(4_096);
  try {
    for (;;) {
      const opening = openingOf(bytes);
      if (opening !== undefined) return opening;
      const count = await link.read(buffer);
      if (count === null) return { kind: "lines", first: bytes };
      bytes = Buffer.concat([bytes, buffer.subarray(0, count)]);
    }
  } catch {
    // Gone, or late: nobody is left to tell.
    if (!isLate) link.abort();
    return undefined;
  } finally {
    clearTimeout(timer);
  }
}

/** What the bytes so far show; undefined as long as they show nothing. */
function openingOf(bytes: Buffer): Opening | undefined {
  const newline = bytes.indexOf(10);
  if (newline < 0) {
    return bytes.length > HEAD_BYTES_MAX
      ? { kind: "lines", first: bytes }
      : undefined;
  }
  const line = bytes.toString("latin1", 0, newline);
  if (!REQUEST_LINE.test(line)) return { kind: "lines", first: bytes };
  const end = bytes.indexOf(END_OF_HEAD);
  if (end < 0 ? bytes.length > HEAD_BYTES_MAX : end > HEAD_BYTES_MAX) {
    return refusal(431, `A head has at most ${HEAD_BYTES_MAX} bytes`);
  }
  if (end < 0) return undefined;
  const request = parseHead(bytes.toString("latin1", 0, end));
  if (request === undefined) return refusal(400, "This head cannot be read");
  const rest = bytes.subarray(end + END_OF_HEAD.length);
  return { kind: "http", request: { ...request, rest } };
}

function parseHead(text: string): Omit<HttpRequest, "rest"> | undefined {
  const [first, ...lines] = text.split("\r\n");
  const [, method, target] = REQUEST_LINE.exec(first) ?? [];
  if (method === undefined || target === undefined) return undefined;
  const headers = new Map<string, string>();
  for (const line of lines) {
    const [, name, value] = HEADER_LINE.exec(line) ?? [];
    if (name === undefined || value === undefined) return undefined;
    const key = name.toLowerCase();
    const before = headers.get(key);
    // Whose these are, nothing may make doubtful.
    if (before !== undefined && (key === "host" || key === "origin")) {
      return undefined;
    }
    headers.set(key, before === undefined ? value : `${before}, ${value}`);
  }
  const [path] = target.split("?");
  return { method, path, target, headers: Object.fromEntries(headers) };
}

// Whose page it is

/**
 * Whether a page of this origin may speak to a server. A browser lets any page
 * open a WebSocket to anywhere, so each that it can reach would do otherwise.
 *
 * @param origin Of the request; undefined when no browser sent it.
 * @param host The request's `Host`.
 * @param allowed Origins that the operator allows.
 */
export function mayOriginEnter(
  origin: string | undefined,
  { host, allowed }: { host: string | undefined; allowed: readonly string[] },
): boolean {
  if (origin === undefined || allowed.includes(origin)) return true;
  let url: URL;
  try {
    url = new URL(origin);
  } catch {
    // "null", of pages that hide where they come from.
    return false;
  }
  if (isLoopbackName(url.hostname)) return true;
  // The same host, and not by a name: names are for others to point here.
  return url.host !== "" && url.host === host && isAddress(url.hostname);
}

function isLoopbackName(name: string): boolean {
  return name === "localhost" || isLoopbackAddress(unbracketed(name));
}

function unbracketed(name: string): string {
  return name.startsWith("[") ? name.slice(1, -1) : name;
}

/** Whether it is an address: `URL` has brought those of IPv4 into this form. */
function isAddress(name: string): boolean {
  if (/^\d+\.\d+\.\d+\.\d+$/.test(name)) return true;
  return name.startsWith("[") && name.endsWith("]");
}

/** By which proxies tell for whom they ask. */
const FORWARDED = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/** Whether somebody else asks than the one at the connection's other end. */
export function isForwarded({ headers }: HttpRequest): boolean {
  return FORWARDED.some((name) => Object.hasOwn(headers, name));
}

// Answers

const REASONS: Readonly<Record<number, string>> = {
  200: "OK",
  400: "Bad Request",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  426: "Upgrade Required",
  431: "Request Header Fields Too Large",
};

/** A whole answer, after which the connection ends. */
export function httpAnswer(
  status: number,
  text: string,
  options: { headers?: readonly string[]; isHead?: boolean } = {},
): Uint8Array {
  const body = Buffer.from(`${text}\n`);
  const head = [
    `HTTP/1.1 ${status} ${REASONS[status] ?? "Error"}`,
    "Connection: close",
    "Content-Type: text/plain; charset=utf-8",
    `Content-Length: ${body.length}`,
    "X-Content-Type-Options: nosniff",
    "Cache-Control: no-store",
    ...options.headers ?? [],
  ].join("\r\n");
  return Buffer.concat([
    Buffer.from(`${head}\r\n\r\n`),
    options.isHead ? Buffer.alloc(0) : body,
  ]);
}

function refusal(status: number, text: string): Opening {
  return { kind: "refused", answer: httpAnswer(status, text) };
}

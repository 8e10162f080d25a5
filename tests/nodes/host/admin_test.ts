import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import prometheus from "prom-client";
import {
  type AdminPages,
  answerAdmin,
  startAdmin,
} from "../../../nodes/host/admin.ts";
import type { Log } from "../../../nodes/host/log.ts";

const listen = { host: "127.0.0.1", port: 0 };

function pagesOf(changes: Partial<AdminPages> = {}): AdminPages {
  const registry = new prometheus.Registry();
  new prometheus.Gauge({ name: "up", help: "Up.", registers: [registry] })
    .set(1);
  return {
    nodeId: "n1",
    role: "chain",
    readiness: () => ({ ready: true, reasons: [] }),
    state: () => ({ links: 2, sequence: 3n }),
    registry,
    log: quiet,
    ...changes,
  };
}

const quiet: Log = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
};

/** Asks a started admin port, and closes it. */
async function ask(
  path: string,
  options: { pages?: AdminPages; method?: string } = {},
) {
  const pages = options.pages ?? pagesOf();
  const admin = startAdmin({ ...pages, listen });
  try {
    const url = `http://127.0.0.1:${admin.address.port}${path}`;
    const response = await fetch(url, { method: options.method ?? "GET" });
    return { response, text: await response.text() };
  } finally {
    await admin.close();
  }
}

Deno.test("admin: /healthz is ok while the process runs", async () => {
  const { response, text } = await ask("/healthz");
  assertEquals([response.status, text], [200, "ok\n"]);
});

Deno.test("admin: /readyz says whether the node can do its job", async () => {
  const yes = await ask("/readyz");
  assertEquals(yes.response.status, 200);
  assertEquals(JSON.parse(yes.text), { ready: true, reasons: [] });
  const reasons = ["Successor is away"];
  const pages = pagesOf({ readiness: () => ({ ready: false, reasons }) });
  const no = await ask("/readyz", { pages });
  assertEquals(no.response.status, 503);
  assertEquals(JSON.parse(no.text), { ready: false, reasons });
});

Deno.test("admin: /metrics is Prometheus text", async () => {
  const { response, text } = await ask("/metrics");
  const type = response.headers.get("content-type") ?? "";
  assertMatch(type, /^text\/plain; version=0\.0\.4/);
  assertMatch(text, /^# HELP up Up\.\n# TYPE up gauge\nup 1$/m);
});

Deno.test("admin: /state is JSON, bigints as strings", async () => {
  const { response, text } = await ask("/state?pretty");
  const type = response.headers.get("content-type");
  assertEquals(type, "application/json; charset=utf-8");
  assertEquals(JSON.parse(text), { links: 2, sequence: "3" });
});

Deno.test("admin: / lists the pages, and so does 404", async () => {
  for (const [path, status] of [["/", 200], ["/nope", 404]] as const) {
    const { response, text } = await ask(path);
    assertEquals(response.status, status);
    for (const page of ["/healthz", "/readyz", "/metrics", "/state"]) {
      assert(text.includes(page), text);
    }
  }
});

Deno.test("admin: HEAD has the headers alone, other methods are refused", async () => {
  for (const path of ["/", "/healthz", "/readyz", "/metrics", "/state"]) {
    const head = await ask(path, { method: "HEAD" });
    assertEquals([head.response.status, head.text], [200, ""]);
    for (const method of ["POST", "PUT", "DELETE", "OPTIONS"]) {
      const { response } = await ask(path, { method });
      assertEquals(response.status, 405);
      assertEquals(response.headers.get("allow"), "GET, HEAD");
    }
  }
});

Deno.test("admin: a page that throws is a 500 and a log line", async () => {
  const said: string[] = [];
  const pages = pagesOf({
    state: () => {
      throw new Error("secret detail");
    },
    log: { ...quiet, error: (message) => said.push(message) },
  });
  const { response, text } = await ask("/state", { pages });
  assertEquals([response.status, said.length], [500, 1]);
  assert(!text.includes("secret"), text);
});

Deno.test("admin: only loopback, link-local and private addresses may ask", async () => {
  for (
    const [remoteHost, status] of [
      ["127.0.0.1", 200],
      ["::1", 200],
      ["::ffff:10.1.2.3", 200],
      ["192.168.0.9", 200],
      ["169.254.1.1", 200],
      ["fe80::1%eth0", 200],
      ["fd00::1", 200],
      ["8.8.8.8", 403],
      ["::ffff:8.8.8.8", 403],
      ["2001:db8::1", 403],
      ["172.32.0.1", 403],
    ] as const
  ) {
    const response = await answerAdmin(new Request("http://n/healthz"), {
      pages: pagesOf(),
      remoteHost,
      ownHost: "0.0.0.0",
    });
    assertEquals(response.status, status, remoteHost);
  }
});

Deno.test("admin: a web page cannot ask under a public name", async () => {
  for (
    const [host, status] of [
      ["127.0.0.1:9100", 200],
      ["[::1]:9100", 200],
      ["[fe80::1]", 200],
      ["10.0.0.7", 200],
      ["localhost:9100", 200],
      ["LOCALHOST", 200],
      ["chain-0", 200],
      ["chain-0.skein.default.svc:9100", 200],
      ["chain-0.skein.default.svc.cluster.local", 200],
      ["printer.local", 200],
      ["admin.example.com:9100", 200],
      ["evil.example.com", 403],
      ["evil.example.com:9100", 403],
      ["local.evil.com", 403],
      ["127.0.0.1.evil.com", 403],
      ["[::1].evil.com", 403],
    ] as const
  ) {
    const request = new Request("http://n/state", { headers: { host } });
    const response = await answerAdmin(request, {
      pages: pagesOf(),
      remoteHost: "127.0.0.1",
      ownHost: "admin.example.com",
    });
    assertEquals(response.status, status, host);
  }
});

Deno.test("admin: a taken port is named", () => {
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = taken.addr as Deno.NetAddr;
  assertThrows(
    () => startAdmin({ ...pagesOf(), listen: { host: "127.0.0.1", port } }),
    Error,
    `Cannot open the admin port at "127.0.0.1:${port}"`,
  );
});

Deno.test("admin: close ends connections that are kept open, within a second", async () => {
  const admin = startAdmin({ ...pagesOf(), listen });
  const { port } = admin.address;
  const connect = () => Deno.connect({ hostname: "127.0.0.1", port });
  using idle = await connect();
  using halfway = await connect();
  using kept = await connect();
  await halfway.write(new TextEncoder().encode("GET /healthz HT"));
  await kept.write(
    new TextEncoder().encode(
      "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ),
  );
  const answer = new Uint8Array(1_000);
  assertMatch(
    new TextDecoder().decode(answer.subarray(0, await kept.read(answer) ?? 0)),
    /^HTTP\/1\.1 200 OK\r\n/,
  );
  const startedAt = performance.now();
  await Promise.all([admin.close(), admin.close()]);
  assert(performance.now() - startedAt < 1_000);
  for (const connection of [idle, halfway, kept]) {
    assertEquals(await endOf(connection), "closed");
  }
});

Deno.test("admin: close waits no longer for an answer that does not come", async () => {
  const asked = Promise.withResolvers<void>();
  const pages = pagesOf();
  pages.registry.metrics = () => {
    asked.resolve();
    return new Promise(() => {});
  };
  const admin = startAdmin({ ...pages, listen });
  const answer = fetch(`http://127.0.0.1:${admin.address.port}/metrics`)
    .then((response) => response.text(), () => "aborted");
  await asked.promise;
  const startedAt = performance.now();
  await admin.close();
  assert(performance.now() - startedAt < 1_000);
  await answer;
});

/** Reads until the other side closes; a reset is a close. */
async function endOf(connection: Deno.Conn): Promise<string> {
  const rest = new Uint8Array(1_000);
  try {
    while (await connection.read(rest) !== null);
  } catch (error) {
    if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
  }
  return "closed";
}

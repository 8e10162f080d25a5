import { assert, assertEquals } from "@std/assert";
import Type, { type Static } from "typebox";
import { Value } from "typebox/value";
import { parseAllDocuments } from "yaml";
import { PortBlock } from "./port_block.ts";
import configuration from "../../deno.json" with { type: "json" };

const PORT = Type.Integer({ minimum: 1, maximum: 65_535 });
const LABELS = Type.Record(Type.String(), Type.String());
const PROBE = Type.Object({
  httpGet: Type.Object({ path: Type.String(), port: Type.String() }),
});
const SERVICE = Type.Object({
  apiVersion: Type.Literal("v1"),
  kind: Type.Literal("Service"),
  metadata: Type.Object({ name: Type.String() }),
  spec: Type.Object({
    clusterIP: Type.Literal("None"),
    publishNotReadyAddresses: Type.Literal(true),
    selector: LABELS,
    ports: Type.Array(
      Type.Object({
        name: Type.String(),
        port: PORT,
        targetPort: Type.String(),
      }),
    ),
  }),
});
const CONTAINER = Type.Object({
  name: Type.String(),
  image: Type.String(),
  args: Type.Array(Type.String()),
  ports: Type.Array(
    Type.Object({ name: Type.String(), containerPort: PORT }),
  ),
  readinessProbe: PROBE,
  livenessProbe: PROBE,
  resources: Type.Object({ requests: LABELS, limits: LABELS }),
  securityContext: Type.Object({
    allowPrivilegeEscalation: Type.Literal(false),
    readOnlyRootFilesystem: Type.Literal(true),
    capabilities: Type.Object({ drop: Type.Array(Type.Literal("ALL")) }),
  }),
});
const STATEFUL_SET = Type.Object({
  apiVersion: Type.Literal("apps/v1"),
  kind: Type.Literal("StatefulSet"),
  metadata: Type.Object({ name: Type.String() }),
  spec: Type.Object({
    serviceName: Type.String(),
    replicas: Type.Integer(),
    podManagementPolicy: Type.Literal("Parallel"),
    selector: Type.Object({ matchLabels: LABELS }),
    template: Type.Object({
      metadata: Type.Object({ labels: LABELS }),
      spec: Type.Object({
        terminationGracePeriodSeconds: Type.Integer({ minimum: 6 }),
        securityContext: Type.Object({
          runAsNonRoot: Type.Literal(true),
          runAsUser: Type.Integer({ minimum: 1 }),
        }),
        containers: Type.Array(CONTAINER, { minItems: 1, maxItems: 1 }),
      }),
    }),
  }),
});

/** Parses the manifest; what Kubernetes would refuse or ignore fails here. */
function manifest(): {
  service: Static<typeof SERVICE>;
  set: Static<typeof STATEFUL_SET>;
} {
  const text = Deno.readTextFileSync(
    new URL("../../deploy/k8s/chain.yaml", import.meta.url),
  );
  const documents = parseAllDocuments(text, { strict: true, uniqueKeys: true });
  assert(Array.isArray(documents) && documents.length === 2);
  const [service, set] = documents.map((document) => {
    assertEquals([...document.errors, ...document.warnings], []);
    return document.toJS() as unknown;
  });
  assertEquals([...Value.Errors(SERVICE, service)], []);
  assertEquals([...Value.Errors(STATEFUL_SET, set)], []);
  return {
    service: Value.Parse(SERVICE, service),
    set: Value.Parse(STATEFUL_SET, set),
  };
}

/** Values of a node's flags, as the manifest gives them. */
function flagsOf(args: readonly string[]): Map<string, string> {
  assertEquals(args.length % 2, 0, "each flag has a value");
  const flags = new Map<string, string>();
  for (let index = 0; index < args.length; index += 2) {
    assert(args[index].startsWith("-"), args[index]);
    flags.set(args[index], args[index + 1]);
  }
  return flags;
}

Deno.test("chain.yaml: service, set, pods and arguments name the same things", () => {
  const { service, set } = manifest();
  const { spec } = set;
  const labels = spec.template.metadata.labels;
  const [container] = spec.template.spec.containers;
  const flags = flagsOf(container.args);

  assertEquals(spec.serviceName, service.metadata.name);
  assertEquals(service.spec.selector, labels);
  assertEquals(spec.selector.matchLabels, labels);
  // A pod's name is the set's and an ordinal; its successor's host name is
  // that with the next ordinal, in the domain of the service.
  assertEquals(set.metadata.name, service.metadata.name);
  assertEquals(flags.get("--next-from-ordinal"), service.metadata.name);
  assertEquals(flags.get("--size"), String(spec.replicas));
});

Deno.test("chain.yaml: the ports are those that the node is told", () => {
  const { service, set } = manifest();
  const [container] = set.spec.template.spec.containers;
  const flags = flagsOf(container.args);
  const ports = new Map(
    container.ports.map(({ name, containerPort }) => [name, containerPort]),
  );
  assertEquals(String(ports.get("chain")), flags.get("-l"));
  assertEquals(flags.get("--admin"), `0.0.0.0:${ports.get("admin")}`);
  assertEquals(service.spec.ports.map(({ name }) => name), [...ports.keys()]);
  for (const { port, targetPort } of service.spec.ports) {
    assertEquals(ports.get(targetPort), port);
  }
  for (
    const [probe, path] of [
      [container.readinessProbe, "/readyz"],
      [container.livenessProbe, "/healthz"],
    ] as const
  ) {
    assertEquals(probe.httpGet, { path, port: "admin" });
  }
});

Deno.test("chain.yaml: a node takes these arguments, and passes the probes", async () => {
  const { set } = manifest();
  const [container] = set.spec.template.spec.containers;
  using ports = PortBlock.reserve();
  const moved = new Map([
    ["3525", String(ports.base)],
    ["0.0.0.0:9090", `127.0.0.1:${ports.base + 1}`],
  ]);
  const main = new URL("../../main.ts", import.meta.url).pathname;
  const node = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--quiet", "-A", main, "chain", "--exit-with-parent"],
      ...container.args.map((word) => moved.get(word) ?? word),
    ],
    // The tail: the only one whose successor need not be found.
    env: { HOSTNAME: `${set.metadata.name}-${set.spec.replicas - 1}` },
    stdin: "piped",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const log = new Response(node.stderr).text();
  try {
    for (
      const { httpGet } of [container.readinessProbe, container.livenessProbe]
    ) {
      const url = `http://127.0.0.1:${ports.base + 1}${httpGet.path}`;
      assertEquals(await firstStatus(url, { ended: node.status }), 200, url);
    }
  } finally {
    await node.stdin.close();
    assertEquals((await node.status).code, 0, await log);
  }
});

Deno.test("chain.yaml: the image is the one that the pages say to build", () => {
  const { set } = manifest();
  const [{ image }] = set.spec.template.spec.containers;
  assertEquals(image, `skein-chain:${configuration.version}`);
  const command = `docker build -t ${image} -f deploy/Containerfile .`;
  for (const page of ["deploy/README.md", "deploy/Containerfile"]) {
    const text = Deno.readTextFileSync(
      new URL(`../../${page}`, import.meta.url),
    );
    assert(text.includes(command), `${page} says: ${command}`);
  }
});

/** What the first answer says; gives up when the process has ended. */
async function firstStatus(
  url: string,
  options: { readonly ended: Promise<unknown> },
): Promise<number> {
  let hasEnded = false;
  options.ended.then(() => hasEnded = true);
  while (!hasEnded) {
    try {
      const answer = await fetch(url);
      await answer.body?.cancel();
      return answer.status;
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // nobody listens yet
    }
  }
  throw new Error(`The node ended before ${url} answered`);
}

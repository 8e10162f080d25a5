import { assert, assertEquals } from "@std/assert";
import Type, { type Static } from "typebox";
import { Value } from "typebox/value";
import { parseAllDocuments } from "yaml";
import { parseMeshFlags } from "../../nodes/mesh/flags.ts";
import configuration from "../../deno.json" with { type: "json" };

const PORT = Type.Integer({ minimum: 1, maximum: 65_535 });
const LABELS = Type.Record(Type.String(), Type.String());
const NAMED = Type.Object({ name: Type.String() });
const PROBE = Type.Object({
  httpGet: Type.Object({ path: Type.String(), port: Type.String() }),
});
const SERVICE = Type.Object({
  apiVersion: Type.Literal("v1"),
  kind: Type.Literal("Service"),
  metadata: NAMED,
  spec: Type.Object({
    clusterIP: Type.Optional(Type.Literal("None")),
    publishNotReadyAddresses: Type.Optional(Type.Literal(true)),
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
  env: Type.Array(Type.Object({
    name: Type.Literal("SKEIN_ID"),
    valueFrom: Type.Object({
      fieldRef: Type.Object({ fieldPath: Type.Literal("metadata.name") }),
    }),
  })),
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
  volumeMounts: Type.Array(
    Type.Object({ name: Type.String(), mountPath: Type.String() }),
  ),
});
const STATEFUL_SET = Type.Object({
  apiVersion: Type.Literal("apps/v1"),
  kind: Type.Literal("StatefulSet"),
  metadata: NAMED,
  spec: Type.Object({
    serviceName: Type.String(),
    replicas: Type.Integer({ minimum: 1, maximum: 64 }),
    podManagementPolicy: Type.Literal("Parallel"),
    selector: Type.Object({ matchLabels: LABELS }),
    template: Type.Object({
      metadata: Type.Object({ labels: LABELS }),
      spec: Type.Object({
        terminationGracePeriodSeconds: Type.Integer({ minimum: 6 }),
        securityContext: Type.Object({
          runAsNonRoot: Type.Literal(true),
          runAsUser: Type.Integer({ minimum: 1 }),
          fsGroup: Type.Integer({ minimum: 1 }),
        }),
        containers: Type.Array(CONTAINER, { minItems: 1, maxItems: 1 }),
      }),
    }),
    volumeClaimTemplates: Type.Array(Type.Object({ metadata: NAMED })),
  }),
});

/** Parses the manifest; what Kubernetes would refuse or ignore fails here. */
function manifest(): {
  services: readonly Static<typeof SERVICE>[];
  set: Static<typeof STATEFUL_SET>;
} {
  const text = Deno.readTextFileSync(
    new URL("../../deploy/k8s/mesh.yaml", import.meta.url),
  );
  const documents = parseAllDocuments(text, { strict: true, uniqueKeys: true });
  assert(Array.isArray(documents) && documents.length === 3);
  const [peers, people, set] = documents.map((document) => {
    assertEquals([...document.errors, ...document.warnings], []);
    return document.toJS() as unknown;
  });
  return {
    services: [Value.Parse(SERVICE, peers), Value.Parse(SERVICE, people)],
    set: Value.Parse(STATEFUL_SET, set),
  };
}

Deno.test("mesh.yaml: services, set, pods and volumes name the same things", () => {
  const { services, set } = manifest();
  const { template, ...spec } = set.spec;
  const { labels } = template.metadata;
  assertEquals(spec.selector.matchLabels, labels);
  for (const service of services) {
    assertEquals(service.spec.selector, labels);
  }
  const [headless, people] = services;
  assertEquals(headless.spec.clusterIP, "None");
  assertEquals(people.spec.clusterIP, undefined);
  assertEquals(spec.serviceName, headless.metadata.name);
  const [container] = template.spec.containers;
  assertEquals(
    container.volumeMounts.map(({ name }) => name),
    spec.volumeClaimTemplates.map(({ metadata }) => metadata.name),
  );
});

Deno.test("mesh.yaml: a pod's arguments are flags, and say what the manifest says", () => {
  const { services, set } = manifest();
  const [container] = set.spec.template.spec.containers;
  const pod = `${set.metadata.name}-1`;
  const settings = parseMeshFlags(
    container.args.map((arg) => arg.replaceAll("$(SKEIN_ID)", pod)),
    new Map([["SKEIN_ID", pod]]),
    "/nonexistent/.env",
  );
  const service = services[0].metadata.name;
  const ports = new Map(
    container.ports.map(({ name, containerPort }) => [name, containerPort]),
  );
  const port = ports.get("mesh") ?? 0;
  assertEquals(settings.id, pod);
  assertEquals(settings.listen, { host: "0.0.0.0", port });
  assertEquals(settings.discover, { kind: "dns", name: service, port });
  assertEquals(settings.advertise, { host: `${pod}.${service}`, port });
  assertEquals(settings.admin, {
    host: "0.0.0.0",
    port: ports.get("admin"),
  });
  const [{ mountPath }] = container.volumeMounts;
  assert(settings.logFile.startsWith(`${mountPath}/`), settings.logFile);
  for (const { spec } of services) {
    for (const { port, targetPort } of spec.ports) {
      assertEquals(ports.get(targetPort), port);
    }
  }
  assertEquals(container.readinessProbe.httpGet, {
    ...{ path: "/readyz", port: "admin" },
  });
  assertEquals(container.livenessProbe.httpGet, {
    ...{ path: "/healthz", port: "admin" },
  });
});

Deno.test("mesh.yaml: the image is the one that the pages say to build", () => {
  const { set } = manifest();
  const [{ image }] = set.spec.template.spec.containers;
  assertEquals(image, `skein-mesh:${configuration.version}`);
  const command =
    `docker build -t ${image} -f deploy/Containerfile --target mesh .`;
  for (const page of ["deploy/README.md", "deploy/Containerfile"]) {
    const text = Deno.readTextFileSync(
      new URL(`../../${page}`, import.meta.url),
    );
    assert(text.includes(command), `${page} says: ${command}`);
  }
});

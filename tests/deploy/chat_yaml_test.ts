import { assert, assertEquals } from "@std/assert";
import Type, { type Static } from "typebox";
import { Value } from "typebox/value";
import { parseAllDocuments } from "yaml";
import { parseChatFlags } from "../../nodes/chat/flags.ts";
import type { NodeSettings } from "../../nodes/chat/group/group_flags.ts";
import { parseWitnessFlags } from "../../nodes/witness/flags.ts";
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
const BUDGET = Type.Object({
  apiVersion: Type.Literal("policy/v1"),
  kind: Type.Literal("PodDisruptionBudget"),
  metadata: NAMED,
  spec: Type.Object({
    maxUnavailable: Type.Literal(1),
    selector: Type.Object({ matchLabels: LABELS }),
  }),
});
const CONTAINER = Type.Object({
  name: Type.String(),
  image: Type.String(),
  command: Type.Optional(Type.Array(Type.String())),
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
    replicas: Type.Integer(),
    podManagementPolicy: Type.Literal("Parallel"),
    selector: Type.Object({ matchLabels: LABELS }),
    template: Type.Object({
      metadata: Type.Object({ labels: LABELS }),
      spec: Type.Object({
        terminationGracePeriodSeconds: Type.Integer({ minimum: 6 }),
        enableServiceLinks: Type.Literal(false),
        securityContext: Type.Object({
          runAsNonRoot: Type.Literal(true),
          runAsUser: Type.Integer({ minimum: 1 }),
          fsGroup: Type.Integer({ minimum: 1 }),
        }),
        containers: Type.Array(CONTAINER, { minItems: 1, maxItems: 1 }),
      }),
    }),
    volumeClaimTemplates: Type.Array(
      Type.Object({
        metadata: NAMED,
        spec: Type.Object({
          accessModes: Type.Array(Type.Literal("ReadWriteOnce")),
          resources: Type.Object({ requests: LABELS }),
        }),
      }),
      { minItems: 1, maxItems: 1 },
    ),
  }),
});

type StatefulSet = Static<typeof STATEFUL_SET>;
type Service = Static<typeof SERVICE>;

interface Manifest {
  readonly services: ReadonlyMap<string, Service>;
  readonly chat: StatefulSet;
  readonly witness: StatefulSet;
  readonly budget: Static<typeof BUDGET>;
}

/** Parses the manifest; what Kubernetes would refuse or ignore fails here. */
function manifest(): Manifest {
  const text = Deno.readTextFileSync(
    new URL("../../deploy/k8s/chat.yaml", import.meta.url),
  );
  const documents = parseAllDocuments(text, { strict: true, uniqueKeys: true });
  assert(Array.isArray(documents) && documents.length === 6);
  const values = documents.map((document) => {
    assertEquals([...document.errors, ...document.warnings], []);
    return document.toJS() as unknown;
  });
  for (
    const [schema, found] of [
      [SERVICE, values.slice(0, 3)],
      [BUDGET, values.slice(3, 4)],
      [STATEFUL_SET, values.slice(4)],
    ] as const
  ) {
    for (const value of found) {
      assertEquals([...Value.Errors(schema, value)], []);
    }
  }
  const services = values.slice(0, 3).map((one) => Value.Parse(SERVICE, one));
  return {
    services: new Map(services.map((one) => [one.metadata.name, one])),
    budget: Value.Parse(BUDGET, values[3]),
    chat: Value.Parse(STATEFUL_SET, values[4]),
    witness: Value.Parse(STATEFUL_SET, values[5]),
  };
}

/** What pod `ordinal` of a set is told. */
function settingsOf(set: StatefulSet, ordinal: number): NodeSettings {
  const [container] = set.spec.template.spec.containers;
  const env = new Map([["SKEIN_ID", `${set.metadata.name}-${ordinal}`]]);
  const parse = container.command?.[0] === "/skein-witness"
    ? parseWitnessFlags
    : parseChatFlags;
  return parse(container.args, env, "/nonexistent/.env");
}

Deno.test("chat.yaml: services, sets and pods name the same things", () => {
  const { services, chat, witness, budget } = manifest();
  for (const { metadata, spec } of [chat, witness]) {
    const labels = spec.template.metadata.labels;
    const service = services.get(spec.serviceName);
    assert(service !== undefined, spec.serviceName);
    assertEquals(service.spec.clusterIP, "None");
    assertEquals(service.spec.publishNotReadyAddresses, true);
    assertEquals(service.spec.selector, labels);
    assertEquals(spec.selector.matchLabels, labels);
    // A pod's host name is the set's name, its ordinal, and the service's name.
    assertEquals(metadata.name, spec.serviceName);
    assertEquals(
      spec.volumeClaimTemplates[0].metadata.name,
      spec.template.spec.containers[0].volumeMounts[0].name,
    );
  }
  const clients = services.get("skein-chat-clients");
  assertEquals(clients?.spec.selector, chat.spec.selector.matchLabels);
  assertEquals(budget.spec.selector, chat.spec.selector);
});

Deno.test("chat.yaml: every pod finds itself in one group that survives any two", () => {
  const { chat, witness } = manifest();
  const all = [chat, witness].flatMap((set) =>
    Array.from(
      { length: set.spec.replicas },
      (_, ordinal) => ({ set, settings: settingsOf(set, ordinal) }),
    )
  );
  assertEquals(all.length, 5);
  for (const { set, settings } of all) {
    assertEquals(settings.group, all[0].settings.group);
    assertEquals(settings.notices, [
      "5 voters (3 servers, 2 witnesses): survives any 2",
    ]);
    assertEquals(settings.warnings, []);
    const self = settings.group.find(({ id }) => id === settings.id);
    assertEquals(
      self?.address.host,
      `${settings.id}.${set.spec.serviceName}`,
    );
    const [{ mountPath }] = set.spec.template.spec.containers[0].volumeMounts;
    assert(settings.data.startsWith(`${mountPath}/`), settings.data);
  }
  assertEquals(
    all[0].settings.group.map(({ id }) => id),
    all.map(({ settings }) => settings.id),
  );
});

Deno.test("chat.yaml: the ports are those that the nodes are told", () => {
  const { services, chat, witness } = manifest();
  for (const set of [chat, witness]) {
    const [container] = set.spec.template.spec.containers;
    const ports = new Map(
      container.ports.map(({ name, containerPort }) => [name, containerPort]),
    );
    const settings = settingsOf(set, 0);
    const anywhere = (name: string) => ({
      host: "0.0.0.0",
      port: ports.get(name),
    });
    assertEquals(settings.listenReplica, anywhere("replica"));
    assertEquals(settings.admin, anywhere("admin"));
    if ("listenClients" in settings) {
      assertEquals(settings.listenClients, anywhere("clients"));
    }
    const { name } = set.metadata;
    for (const { spec } of services.values()) {
      if (spec.selector["app.kubernetes.io/name"] !== name) continue;
      for (const { port, targetPort } of spec.ports) {
        assertEquals(ports.get(targetPort), port);
      }
    }
    assertEquals(container.readinessProbe.httpGet, {
      path: "/readyz",
      port: "admin",
    });
    assertEquals(container.livenessProbe.httpGet, {
      path: "/healthz",
      port: "admin",
    });
  }
});

Deno.test("chat.yaml: the image is the one that the pages say to build", () => {
  const { chat, witness } = manifest();
  const image = `skein-chat:${configuration.version}`;
  for (const { spec } of [chat, witness]) {
    assertEquals(spec.template.spec.containers[0].image, image);
  }
  const command =
    `docker build -t ${image} -f deploy/Containerfile --target chat .`;
  for (const page of ["deploy/README.md", "deploy/Containerfile"]) {
    const text = Deno.readTextFileSync(
      new URL(`../../${page}`, import.meta.url),
    );
    assert(text.includes(command), `${page} says: ${command}`);
  }
});

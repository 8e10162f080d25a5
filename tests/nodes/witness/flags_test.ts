import { assertEquals, assertThrows } from "@std/assert";
import { parseWitnessFlags } from "../../../nodes/witness/flags.ts";
import { FlagsExit } from "../../../nodes/host/flags.ts";

const GROUP = {
  ...{ SERVER1_IP: "10.0.0.1", REPLICA_PORT1: "8081", CLIENT_PORT1: "8091" },
  ...{ WITNESS1_IP: "10.0.0.4", WITNESS_PORT1: "8084" },
  ...{ WITNESS2_IP: "10.0.0.5", WITNESS_PORT2: "8085" },
};

function parse(line: string, env: Record<string, string> = {}) {
  return parseWitnessFlags(
    line === "" ? [] : line.split(" "),
    new Map(Object.entries(env)),
    "/nonexistent/.env",
  );
}

Deno.test("witness flags: a number among the variables says who it is", () => {
  for (
    const settings of [
      parse("--witness-number 2", GROUP),
      parse("", { ...GROUP, WITNESS_NUMBER: "2" }),
      parse("--id witness-2", GROUP),
    ]
  ) {
    assertEquals(settings.id, "witness-2");
    assertEquals(settings.listenReplica, { host: "0.0.0.0", port: 8085 });
    assertEquals(settings.data, "./data/witness-2");
    assertEquals(settings.group.length, 3);
  }
});

Deno.test("witness flags: the only witness need not say who it is", () => {
  const { WITNESS2_IP: _, WITNESS_PORT2: __, ...one } = GROUP;
  assertEquals(parse("", one).id, "witness-1");
  const byFlags = parse("--server a=h1:1,b=h2:1 --witness w=127.0.0.1:3");
  assertEquals(byFlags.id, "w");
  assertEquals(byFlags.listenReplica, { host: "127.0.0.1", port: 3 });
});

Deno.test("witness flags: what is missing or contradicts is named", () => {
  const { SERVER1_IP, REPLICA_PORT1, CLIENT_PORT1 } = GROUP;
  const servers = { SERVER1_IP, REPLICA_PORT1, CLIENT_PORT1 };
  for (
    const [line, env, reason] of [
      [
        "--discover static",
        {},
        'A witness needs a group: say "--server" and "--witness", or set SERVER1_IP and so on in the environment or in "/nonexistent/.env"',
      ],
      [
        "",
        servers,
        "The group has no witnesses: skein-witness needs a WITNESS1_IP",
      ],
      [
        "--server a=h:1",
        {},
        'The group has no witnesses: skein-witness needs a "--witness"',
      ],
      [
        "",
        GROUP,
        'The group has 2 witnesses: say which is this one, "--witness-number" 1 to 2, or WITNESS_NUMBER',
      ],
      [
        "--witness-number 3",
        GROUP,
        '"--witness-number" is 3, but the last is WITNESS2_IP',
      ],
      [
        "--id a --server a=h:1 --witness w=h:2",
        {},
        '"--id": "a" is in no "--witness", wanted one of "w"',
      ],
      ["-l 1", GROUP, '"-l" is no option'],
    ] as const
  ) {
    const { code, stderr } = assertThrows(() => parse(line, env), FlagsExit);
    assertEquals(code, 2);
    assertEquals(
      stderr,
      `skein-witness: ${reason}. Try "skein-witness --help"\n`,
    );
  }
});

Deno.test("witness flags: without any it looks for its group", () => {
  const settings = parse("");
  assertEquals(settings.group, []);
  assertEquals(settings.listenReplica, { host: "0.0.0.0", port: 8084 });
});

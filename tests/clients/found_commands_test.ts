import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { formatAddress } from "../../protocol/address.ts";
import { WireError } from "../../protocol/errors.ts";
import { namespaceTests } from "../namespace.ts";
import { canned } from "../nodes/chat/canned_status.ts";
import { writable } from "../nodes/chat/service/service_fixture.ts";
import { program } from "../process/program.ts";
import { RunningProcess } from "../process/running_process.ts";
import { AdvertisedServer } from "./advertised_server.ts";

const KEY = "0123456789abcdef";
const GROUP = { id: "1111111111111111", leader: "a", isVoid: false } as const;
const OTHER = { id: "2222222222222222", leader: "k", isVoid: false } as const;

/** One command, to its end. */
async function skein(
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
) {
  await using process = new RunningProcess({
    name: `skein ${args[0]}`,
    command: [...program("skein"), ...args],
    folder: "/",
    environment,
    input: "null",
  });
  const { code } = await process.ended();
  const messages = process.logLines().map(({ message }) => message).join("\n");
  return { code, output: process.outputText(), messages };
}

function at({ server }: AdvertisedServer): string {
  return formatAddress(server.address);
}

namespaceTests({ file: import.meta.url }, () => {
  Deno.test("skein discover: a table of who answers, or what may be wrong", async () => {
    await using a = new AdvertisedServer({ id: "a", group: GROUP });
    const table = await skein(["discover"]);
    assertEquals([table.code, table.messages], [0, ""]);
    const line = table.output.split("\n")[1];
    assertMatch(line, /^a +LEADER +11111111 +1\.1111 +chat +skein +none /);
    assertStringIncludes(line, at(a));
    const none = await skein(["discover", "--cluster", "lab"]);
    assertEquals(none.code, 1);
    assertStringIncludes(none.output, 'No node of the cluster "lab" answers');
  });

  Deno.test("skein discover: --all shows every cluster of its key, --json all of it, -c asks over TCP", async () => {
    await using _a = new AdvertisedServer({ id: "a", group: GROUP });
    await using _b = new AdvertisedServer({ id: "b", cluster: "lab" });
    await using keyed = new AdvertisedServer({
      id: "k",
      key: KEY,
      group: OTHER,
    });
    const all = await skein(["discover", "--all", "--json"]);
    const found = JSON.parse(all.output);
    assertEquals(found.groups.map(({ id }: { id: string }) => id), [GROUP.id]);
    assertEquals(found.seekers.map(({ id }: { id: string }) => id), ["b"]);
    const withKey = await skein(["discover"], { SKEIN_KEY: KEY });
    assertMatch(withKey.output, /^k +LEADER .* yes +127\.0\.0\.1:8081 /m);
    const listed = await skein(["discover", "-c", at(keyed)], {
      SKEIN_KEY: KEY,
    });
    assertEquals(listed.code, 0);
    assertMatch(listed.output, /^k +LEADER .* static 127\.0\.0\.1:\d+$/m);
    // It waits for nobody else.
    const hasty = ["discover", "-c", at(keyed), "--timeout", "60s"];
    assertEquals((await skein(hasty, { SKEIN_KEY: KEY })).code, 0);
    const closed = await skein(["discover", "-c", "127.0.0.1:1"]);
    assertStringIncludes(
      closed.output,
      "within 1 s\nCannot reach 127.0.0.1:1: connection refused\n",
    );
    const refused = await skein(["discover", "-c", at(keyed)]);
    assertEquals(refused.code, 1);
    assertStringIncludes(refused.messages, "Cannot ask 127.0.0.1:");
  });

  Deno.test("skein discover: --watch shows who comes, until Ctrl-C", async () => {
    await using process = new RunningProcess({
      name: "skein discover",
      command: [
        ...program("skein"),
        ...["discover", "--watch", "--json", "--timeout", "50ms"],
      ],
      folder: "/",
      input: "null",
    });
    await process.until("it shows nobody", () => process.outputBytes > 0);
    await using _a = new AdvertisedServer({ id: "a", group: GROUP });
    const last = () => process.outputText().trimEnd().split("\n").at(-1) ?? "";
    await process.until("it shows a", () => last().includes('"id":"a"'));
    process.signal("SIGINT");
    assertEquals((await process.ended()).code, 0);
  });

  Deno.test("skein status: without -c it asks the group that it finds", async () => {
    await using _a = new AdvertisedServer({ id: "a", group: GROUP });
    await using _z = new AdvertisedServer({
      ...{ id: "z", group: { ...OTHER, leader: "z", isVoid: true } },
    });
    const found = await skein(["status"]);
    assertEquals([found.code, found.messages], [0, ""]);
    assertMatch(found.output, /^a +primary /m);
    assert(!/^z /m.test(found.output), found.output);
    assertStringIncludes(
      found.output,
      "Another group answers: the group of z (epoch 1, 1 server, empty)\n",
    );
    const none = await skein(["status", "--cluster", "lab", "--timeout", "1s"]);
    assertEquals(none.code, 1);
    assertStringIncludes(none.output, 'Nobody of the cluster "lab" answers');
  });

  Deno.test("skein leave: the only server of this machine leaves, and what happens is said", async () => {
    const leaving = Promise.withResolvers<void>();
    await using a = new AdvertisedServer({
      ...{ id: "a", group: GROUP, leaveForGood: () => leaving.promise },
    });
    await using process = new RunningProcess({
      name: "skein leave",
      command: [...program("skein"), "leave"],
      folder: "/",
      input: "null",
    });
    await process.until(
      "it is asked",
      () => process.outputText().includes("a is asked to leave"),
    );
    const { view } = canned();
    assert(view !== undefined);
    const epoch = { ...view.epoch, counter: 8 };
    const reason = "a hands over to b";
    const voters = ["a", "b", "c", "d"];
    a.server.shown = {
      ...a.server.shown,
      view: { ...view, epoch, reason, voters, primary: "b" },
    };
    a.server.service.groupChanged(writable("member"));
    await process.until(
      "it hands over",
      () => process.outputText().includes("epoch 8: b leads; a hands over"),
    );
    leaving.resolve();
    assertEquals((await process.ended()).code, 0);
    assertStringIncludes(
      process.outputText(),
      "a has left: 3 voters remain\n",
    );
  });

  Deno.test("skein leave: of several servers one has to be named, and it may refuse", async () => {
    const text = "The last server of its group: stop it instead";
    await using a = new AdvertisedServer({
      ...{ id: "a", group: GROUP },
      leaveForGood: () => Promise.reject(new WireError("busy", text)),
    });
    await using b = new AdvertisedServer({ id: "b", group: GROUP });
    const both = await skein(["leave"]);
    assertEquals(both.code, 1);
    assertStringIncludes(
      both.messages,
      `2 servers run on this machine; say which one is to leave: a with -c ${
        at(a)
      }, b with -c ${at(b)}`,
    );
    const refused = await skein(["leave", "-c", at(a)]);
    assertEquals([refused.code, refused.messages], [1, text]);
    const never = await skein(["leave", "-c", at(b)]);
    assertEquals(never.code, 1);
    assertStringIncludes(never.messages, "cannot be sent away");
  });

  Deno.test("skein leave: a key has to be proven", async () => {
    let left = 0;
    await using a = new AdvertisedServer({
      ...{ id: "a", group: GROUP, key: KEY },
      leaveForGood: () => {
        left += 1;
        return Promise.resolve();
      },
    });
    const without = await skein(["leave", "-c", at(a)]);
    assertEquals(without.code, 1);
    assertStringIncludes(
      without.messages,
      "a wants a proof of its cluster key",
    );
    const other = { SKEIN_KEY: "fedcba9876543210" };
    const wrong = await skein(["leave", "-c", at(a)], other);
    assertEquals(wrong.code, 1);
    assertStringIncludes(wrong.messages, "another key");
    assertEquals(left, 0);
    const right = await skein(["leave", "-c", at(a)], { SKEIN_KEY: KEY });
    assertEquals([right.code, right.messages, left], [0, "", 1]);
  });

  Deno.test("skein leave: when nobody can say whether it has left, that is said", async () => {
    const late = new AdvertisedServer({
      ...{ id: "a", group: GROUP, leaveForGood: () => new Promise(() => {}) },
    });
    const unsaid = await skein(["leave", "-c", at(late), "--timeout", "1s"]);
    const address = at(late);
    await late.stop();
    assertEquals(unsaid.code, 1);
    const gone = await skein(["leave", "-c", address]);
    assertEquals([gone.code, gone.messages], [
      1,
      `Cannot reach ${address}: connection refused; "skein status" tells whether it has left`,
    ]);
    assertStringIncludes(
      unsaid.messages,
      "a may have left or not: it did not say so within 1 s",
    );
  });
});

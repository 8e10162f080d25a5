import { assert, assertEquals } from "@std/assert";
import { WireError } from "../../../../protocol/errors.ts";
import {
  type LeaveChallenge,
  leaveProof,
  readLeaveChallenge,
} from "../../../../protocol/leave_proof.ts";
import { type MemoryClient, MemoryWorld } from "./service_fixture.ts";

const KEY = new TextEncoder().encode("0123456789abcdef");
const OTHER_KEY = new TextEncoder().encode("fedcba9876543210");

/** A world whose server leaves as often as it is told to, and counts it. */
function leaving(options: { key?: Uint8Array } = {}) {
  const world = new MemoryWorld(options);
  const asked: PromiseWithResolvers<void>[] = [];
  world.node.leaveForGood = () => {
    asked.push(Promise.withResolvers<void>());
    return asked[asked.length - 1].promise;
  };
  return { world, asked, client: world.connect() };
}

async function challengeOf(client: MemoryClient): Promise<LeaveChallenge> {
  const answer = await client.ask({ type: "leave" });
  assertEquals([answer.type, answer.code], ["error", "key-required"]);
  const challenge = readLeaveChallenge(answer);
  assert(challenge !== undefined);
  return challenge;
}

Deno.test("leave: without a key this machine may ask, and is answered when the vote is gone", async () => {
  const { world, asked, client } = leaving();
  const id = client.send({ type: "leave" });
  await world.settle();
  assertEquals([asked.length, client.received], [1, []]);
  asked[0].resolve();
  await world.settle();
  assertEquals(client.answer(id), {
    type: "ok",
    id,
    node: "memory",
    voters: 5,
  });
});

Deno.test("leave: without a key nobody else may", async () => {
  const { asked, client } = leaving();
  client.isLocal = false;
  const answer = await client.ask({ type: "leave" });
  assertEquals([answer.code, answer.outcome], ["not-allowed", "definite"]);
  assertEquals(asked.length, 0);
});

Deno.test("leave: no web page can ask by way of a browser of this machine", async () => {
  const { world, asked } = leaving();
  for (const first of ["POST / HTTP/1.1", "too long to be looked at"]) {
    const client = world.connect();
    const lines = [first, "Host: 127.0.0.1:8091", "", '{"type":"leave"}', ""];
    client.side.take(lines.join("\r\n"));
    await world.settle();
    assertEquals([asked.length, client.isClosed], [0, true]);
  }
});

Deno.test("leave: with a key whoever proves it may, wherever he is", async () => {
  const { world, asked, client } = leaving({ key: KEY });
  client.isLocal = false;
  const challenge = await challengeOf(client);
  const { nonce } = challenge;
  assertEquals(challenge.node, "memory");
  const proof = leaveProof(KEY, challenge);
  const id = client.send({ type: "leave", nonce, proof });
  await world.settle();
  asked[0].resolve();
  await world.settle();
  assertEquals(client.answer(id).type, "ok");
});

Deno.test("leave: with a key this machine has to prove it as well", async () => {
  const { asked, client } = leaving({ key: KEY });
  await challengeOf(client);
  assertEquals(asked.length, 0);
});

Deno.test("leave: a proof is good for one key, one process, one connection and once", async () => {
  const { world, asked, client } = leaving({ key: KEY });
  const refused = async (
    from: MemoryClient,
    fields: Record<string, unknown>,
  ) => {
    const { code } = await from.ask({ type: "leave", ...fields });
    assertEquals(code, "wrong-key");
    assertEquals(asked.length, 0);
  };
  const challenges: LeaveChallenge[] = [];
  const fresh = async () => {
    challenges.push(await challengeOf(client));
    return challenges[challenges.length - 1];
  };
  const first = await fresh();
  const { nonce } = first;
  await refused(client, { nonce, proof: leaveProof(OTHER_KEY, first) });
  // That try has used the challenge up.
  await refused(client, { nonce, proof: leaveProof(KEY, first) });
  const second = await fresh();
  await refused(client, { nonce, proof: leaveProof(KEY, first) });
  const third = await fresh();
  const elsewhere = { ...third, incarnation: "00000000000000bb" };
  const proof = leaveProof(KEY, elsewhere);
  await refused(client, { nonce: third.nonce, proof });
  const fourth = await fresh();
  const own = { nonce: fourth.nonce, proof: leaveProof(KEY, fourth) };
  await refused(world.connect(), own);
  await refused(client, { proof: own.proof });
  assertEquals(new Set(challenges.map(({ nonce }) => nonce)).size, 4);
  assert(second.nonce !== nonce);
});

Deno.test("leave: all who ask meanwhile hear how it ends, and it may be asked again", async () => {
  const { world, asked, client } = leaving();
  const other = world.connect();
  const ids = [client.send({ type: "leave" }), other.send({ type: "leave" })];
  await world.settle();
  assertEquals(asked.length, 1);
  const text = "The last server of its group: stop it instead";
  asked[0].reject(new WireError("busy", text));
  await world.settle();
  const answers = [client.answer(ids[0]), other.answer(ids[1])];
  assertEquals(answers.map((answer) => [answer.code, answer.text]), [
    ["busy", text],
    ["busy", text],
  ]);
  client.send({ type: "leave" });
  await world.settle();
  assertEquals(asked.length, 2);
});

Deno.test("leave: the answer goes out before a stop closes the connection", async () => {
  const { world, asked, client } = leaving();
  client.send({ type: "leave" });
  await world.settle();
  const stopped = world.node.service.stop(1_000);
  await world.settle();
  assertEquals(client.isClosed, false);
  asked[0].resolve();
  await world.settle();
  await world.pass(100);
  await stopped;
  const kinds = client.answers.map(({ type, code }) => code ?? type);
  assertEquals(kinds, ["ok", "shutting-down"]);
});

Deno.test("leave: who has gone meanwhile does not end the server", async () => {
  const { world, asked, client } = leaving();
  client.send({ type: "leave" });
  await world.settle();
  client.drop();
  asked[0].resolve();
  await world.settle();
  assertEquals(client.received, []);
});

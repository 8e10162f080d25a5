import { connect } from "node:net";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { parseAddress } from "../../../protocol/address.ts";
import { bounded } from "../until.ts";
import { ChatBystander, PASSWORD } from "./chat_bystander.ts";
import { RawClient, type Said } from "./raw_client.ts";
import { FORGED } from "./traces.ts";

const SECRET_OF_NOBODY = "0".repeat(32);

function assertRefused(said: Said, code: string, text: RegExp): void {
  assertEquals(said.code, code, JSON.stringify(said));
  assertMatch(String(said.text), text);
}

function assertOk(said: Said): Said {
  assertEquals(said.type, "ok", JSON.stringify(said));
  return said;
}

/** A connection that has logged in, and its account if it had none. */
async function enter(address: string, user: string): Promise<RawClient> {
  const client = await RawClient.connect(address);
  const account = { user, password: PASSWORD };
  await client.ask({ type: "register", ...account });
  assertOk(await client.ask({ type: "login", ...account }));
  return client;
}

/** All texts that came to whoever has logged in. */
async function texts(client: RawClient): Promise<unknown[]> {
  const { messages } = await client.ask({
    type: "list",
    after: 0,
    limit: 200,
    linearizable: true,
  });
  assert(Array.isArray(messages));
  const listed: { readonly text?: unknown }[] = messages;
  return listed.map(({ text }) => text);
}

Deno.test("chat bad input: names, passwords, texts, numbers and sessions that are another's or none", async (t) => {
  await using chat = await ChatBystander.start({ witnesses: 0 });
  const [a, b, c] = chat.fleet.servers.map(({ clients }) => clients);

  await t.step("names at their bounds", async () => {
    await using client = await RawClient.connect(a);
    const register = (user: string) =>
      client.ask({ type: "register", user, password: PASSWORD });
    for (
      const [name, kept] of [
        ["n", "n"],
        ["x".repeat(64), "x".repeat(64)],
        ["\u{20000}".repeat(64), "\u{20000}".repeat(64)],
        ["e\u0301".repeat(64), "é".repeat(64)],
      ]
    ) {
      const { user } = assertOk(await register(name));
      assertEquals(user, kept);
      const again = await register(kept);
      assertRefused(again, "name-taken", /has an account already/);
    }
    for (
      const [name, length] of [
        ["", 0],
        ["x".repeat(65), 65],
        ["\u{20000}".repeat(65), 130],
        ["x".repeat(10_000), 10_000],
        ...[" ", ".a", "a b", "a\n", "a\0", "a\u001b", "\u202ea", "a/b"]
          .map((name) => [name, name.length]),
        ...["\ud800", "a\u200b", `${FORGED}\n{}`, "😀"]
          .map((name) => [name, name.length]),
      ]
    ) {
      const said = await register(String(name));
      const wanted = `of ${length} characters: wanted 1 to 64 letters`;
      assertRefused(said, "invalid-name", new RegExp(wanted));
    }
  });

  await t.step("passwords at their bounds", async () => {
    await using client = await RawClient.connect(b);
    const ask = (type: string, user: string, password: string) =>
      client.ask({ type, user, password });
    const long = PASSWORD.padEnd(1_024, "x");
    const accented = "é".repeat(512);
    for (const [at, password] of ["canary 8", long, accented].entries()) {
      assertOk(await ask("register", `bound-${at}`, password));
      assertOk(await ask("login", `bound-${at}`, password));
      assertOk(await client.ask({ type: "logout" }));
      const other = await ask("login", `bound-${at}`, `${password}`.slice(1));
      assertRefused(other, "wrong-password", /no such user, or the password/);
    }
    assertRefused(
      await ask("register", "short", "canary7"),
      "invalid-password",
      /of 7 characters: wanted 8 or more$/,
    );
    assertRefused(
      await ask("register", "long", `${long}x`),
      "invalid-password",
      /of 1025 bytes, limit is 1024$/,
    );
    assertRefused(
      await ask("register", "half", `${PASSWORD}\ud800`),
      "invalid-password",
      /not Unicode$/,
    );
    const stranger = await ask("login", "nobody", PASSWORD);
    const known = await ask("login", "bystander-1", `${PASSWORD}?`);
    assertEquals({ ...stranger, id: 0 }, { ...known, id: 0 });
  });

  await t.step("texts at their bounds", async () => {
    await using client = await enter(c, "texts");
    const send = (text: string) =>
      client.ask({ type: "send", to: "texts", text });
    const whole = [
      "x".repeat(65_536),
      "é".repeat(32_768),
      "\n".repeat(65_023),
      "\u{1f600}".repeat(16_384),
      `${FORGED}\r\n{"level":"error"}\t\u2028\u202e\ufeff`,
    ];
    for (const text of whole) assertOk(await send(text));
    assertEquals(await texts(client), whole);
    assertRefused(
      await send(`${"x".repeat(65_536)}x`),
      "too-large",
      /of 65537 bytes, limit is 65536$/,
    );
    assertRefused(
      await send("\n".repeat(65_024)),
      "too-large",
      /130050 bytes as JSON, limit is 130048$/,
    );
    assertEquals((await texts(client)).length, whole.length);
  });

  await t.step("sequences: repeated, left out, forgotten", async () => {
    await using client = await enter(a, "counter");
    const send = (text: string, seq: number) =>
      client.ask({ type: "send", to: "counter", text, seq });
    const first = assertOk(await send("one", 1));
    const again = assertOk(await send("another one", 1));
    assertEquals(again.n, first.n);
    for (const seq of [3, 64, 2 ** 53 - 1]) {
      assertRefused(
        await send("gap", seq),
        "sequence-gap",
        new RegExp(`take sequence ${seq}: the session's next one is 2$`),
      );
    }
    for (let seq = 2; seq <= 70; seq += 1) assertOk(await send("more", seq));
    assertRefused(await send("one", 1), "sequence-stale", /forgotten$/);
    assertEquals((await texts(client)).length, 70);
  });

  await t.step(
    "a session that is another's, guessed, or has ended",
    async () => {
      await using ann = await RawClient.connect(a);
      const account = { user: "ann", password: PASSWORD };
      assertOk(await ann.ask({ type: "register", ...account }));
      const { session, secret } = await ann.ask({ type: "login", ...account });
      await using eve = await enter(b, "eve");
      await using mallory = await RawClient.connect(b);
      const bits = parseInt(String(secret)[0], 16) ^ 1;
      const near = `${bits.toString(16)}${String(secret).slice(1)}`;
      const answers: Said[] = [];
      for (
        const [guess, key] of [
          [session, SECRET_OF_NOBODY],
          [session, near],
          ["0".repeat(16), secret],
        ]
      ) {
        const said = await mallory.ask({
          type: "resume",
          session: guess,
          secret: key,
        });
        assertRefused(said, "session-unknown", /no such session/);
        answers.push({ ...said, id: 0 });
      }
      assertEquals(
        new Set(answers.map((said) => JSON.stringify(said))).size,
        1,
      );
      // Whoever is logged in speaks for nobody else, whatever it adds.
      const claims = { session, secret, user: "ann", from: "ann", seq: 1 };
      const said = { ...claims, type: "send", to: "ann", text: "from eve" };
      assertOk(await eve.ask(said));
      const { messages } = await ann.ask({
        type: "list",
        linearizable: true,
        user: "eve",
      });
      assert(Array.isArray(messages));
      assertEquals(messages.map(({ from }: { from: unknown }) => from), [
        "eve",
      ]);
      const { index: seen } = assertOk(await ann.ask({ type: "logout" }));
      const late = await mallory.ask({ type: "resume", session, secret, seen });
      assertRefused(late, "session-unknown", /no such session/);
    },
  );

  await t.step("a session in two places", async () => {
    await using first = await RawClient.connect(a);
    const account = { user: "twice", password: PASSWORD };
    assertOk(await first.ask({ type: "register", ...account }));
    const proof = await first.ask({ type: "login", ...account });
    const { session, secret } = proof;
    await using second = await RawClient.connect(a);
    assertOk(await second.ask({ type: "resume", session, secret }));
    const [word, ...more] = await first.toEnd();
    assertRefused(word, "session-moved", /elsewhere/);
    assertEquals(more, []);
    // At another server: whichever of the two speaks, each number is done once.
    await using third = await RawClient.connect(b);
    assertOk(await third.ask({ type: "resume", session, secret }));
    const send = (client: RawClient, text: string, seq?: number) =>
      client.ask({ type: "send", to: "twice", text, seq });
    const [one, other] = await Promise.all([
      send(second, "by a number", 1),
      send(third, "by a number", 1),
    ]);
    assertEquals([one.type, one.n], ["ok", other.n]);
    const both = await Promise.all([
      send(second, "here"),
      send(third, "there"),
    ]);
    both.forEach(assertOk);
    const [numbered, ...rest] = await texts(third);
    assertEquals(numbered, "by a number");
    assertEquals(rest.toSorted(), ["here", "there"]);
  });

  await t.step(
    "one name at three servers at once: exactly one gets it",
    async () => {
      const clients = await Promise.all([a, b, c].map(RawClient.connect));
      for (let round = 0; round < 8; round += 1) {
        const user = `wanted-${round}`;
        const said = await Promise.all(clients.map((client, at) =>
          client.ask({
            type: "register",
            user,
            password: `${PASSWORD} ${at}`,
          })
        ));
        const winners = said.flatMap(({ type }, at) =>
          type === "ok" ? [at] : []
        );
        assertEquals(winners.length, 1, JSON.stringify(said));
        const losers = said.filter(({ type }) => type !== "ok");
        for (const loser of losers) {
          assertRefused(loser, "name-taken", /"wanted-\d" has an account/);
        }
        const password = `${PASSWORD} ${winners[0]}`;
        for (const client of clients) {
          assertOk(await client.ask({ type: "login", user, password }));
          assertOk(await client.ask({ type: "logout" }));
        }
      }
      for (const client of clients) client.close();
    },
  );

  await t.step(
    "a script that says all at once and closes its side",
    async () => {
      await using client = await RawClient.connect(c);
      const account = { user: "script", password: PASSWORD };
      const lines = [
        { type: "register", ...account },
        { type: "login", ...account },
        ...Array.from({ length: 200 }, (_, at) => ({
          type: "send",
          to: "script",
          text: `line ${at}`,
        })),
        { type: "list", after: 0, limit: 200 },
      ];
      await client.write(lines.map((line) => JSON.stringify(line)).join("\n"));
      await client.closeWrite();
      const said = await client.toEnd();
      const answers = said.filter(({ type }) => type !== "message");
      assertEquals(answers.length, lines.length);
      for (const answer of answers) assertOk(answer);
      assertEquals(said.length - answers.length, 200);
      const listed = answers.at(-1)?.messages;
      assert(Array.isArray(listed));
      assertEquals(listed.length, 200);
    },
  );

  await t.step("a client that is gone in the middle", async () => {
    await using client = await enter(a, "gone");
    // Fewer than a user may have sessions.
    for (let round = 0; round < 10; round += 1) await leaveAtOnce(a, round);
    await chat.more();
    const had = await texts(client);
    assertEquals(new Set(had).size, had.length, "nothing twice");
  });

  await t.step("who was there all the time noticed nothing", async () => {
    await chat.assertUnharmed();
  });
});

/** Logs in, sends a hundred messages and half a line, and resets the connection. */
async function leaveAtOnce(address: string, round: number): Promise<void> {
  const { host, port } = parseAddress(address);
  // Deno's own connections end in order, whatever one does.
  const socket = connect(port, host);
  const closed = new Promise((resolve) => socket.once("close", resolve));
  const answered = new Promise((resolve) => socket.once("data", resolve));
  const account = { user: "gone", password: PASSWORD };
  socket.write(`${JSON.stringify({ type: "login", ...account })}\n`);
  await bounded("the login is answered", answered);
  for (let at = 0; at < 100; at += 1) {
    const text = `${round}.${at}`;
    socket.write(`${JSON.stringify({ type: "send", to: "gone", text })}\n`);
  }
  socket.write('{"type":"send"');
  await bounded(
    "it is written",
    new Promise((resolve) => socket.write(",", resolve)),
  );
  socket.resetAndDestroy();
  await closed;
}

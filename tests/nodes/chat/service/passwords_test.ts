/** Passwords. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import {
  type Derive,
  formatPhc,
  parsePhc,
  Passwords,
  SCRYPT_COST,
} from "../../../../nodes/chat/service/passwords.ts";
import { WireError } from "../../../../protocol/errors.ts";

/** Cheap enough for tests. */
const CHEAP = { ln: 4, r: 8, p: 1 };

/** Made by `@phc/scrypt`, as its README shows it. */
const FOREIGN =
  "$scrypt$ln=15,r=8,p=1$D/EEcdfcBkj4DQB3zlfsFQ$v9Xsag5AySIY78DFKslBzeRXCUfsLKCZ0Xm4Xwoh+J0";

/** Computes nothing until it is told to; counts. */
class Derivations {
  readonly calls: { password: string; salt: Uint8Array; end: () => void }[] =
    [];

  readonly derive: Derive = (password, { salt, bytes }) =>
    new Promise((resolve) => {
      const end = () => resolve(new Uint8Array(bytes));
      this.calls.push({ password, salt, end });
    });
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  return (await assertRejects(() => work, WireError)).code;
}

Deno.test("passwords: the right one is right, any other is not", async () => {
  const passwords = new Passwords({ cost: CHEAP });
  const phc = await passwords.hash("correct horse");
  assert(phc.startsWith("$scrypt$ln=4,r=8,p=1$"), phc);
  assertEquals(await passwords.verify("correct horse", phc), true);
  for (const wrong of ["correct hors", "correct horse ", "x", ""]) {
    assertEquals(await passwords.verify(wrong, phc), false);
  }
  assertEquals(await passwords.verify("correct horse", undefined), false);
});

Deno.test("passwords: two hashes of one password differ", async () => {
  const passwords = new Passwords({ cost: CHEAP });
  assert(await passwords.hash("same") !== await passwords.hash("same"));
});

Deno.test("passwords: a hash that another program made is understood", async () => {
  const passwords = new Passwords();
  assertEquals(await passwords.verify("password", FOREIGN), true);
  assertEquals(await passwords.verify("passwort", FOREIGN), false);
});

Deno.test("passwords: an unknown user, a wrong password and a broken hash cost the same", async () => {
  const calls: unknown[] = [];
  const passwords = new Passwords({
    derive: (_password, { cost, salt, bytes }) => {
      calls.push({ cost, saltBytes: salt.length, bytes });
      return Promise.resolve(new Uint8Array(bytes));
    },
  });
  const phc = await passwords.hash("right");
  const broken = [
    undefined,
    "",
    "$scrypt$",
    phc.slice(0, -30),
    "x".repeat(500),
  ];
  for (const stored of [...broken, phc.replace(/.$/, "Q")]) {
    await passwords.verify("wrong", stored);
  }
  const one = { cost: SCRYPT_COST, saltBytes: 16, bytes: 32 };
  assertEquals(calls, Array(calls.length).fill(one));
  assertEquals(calls.length, broken.length + 2);
});

Deno.test("passwords: a derivation that always gives zeros lets nobody in without a user", async () => {
  const passwords = new Passwords({
    derive: (_password, { bytes }) => Promise.resolve(new Uint8Array(bytes)),
  });
  const zeros = formatPhc({
    cost: SCRYPT_COST,
    salt: new Uint8Array(16),
    hash: new Uint8Array(32),
  });
  assertEquals(await passwords.verify("any", zeros), true);
  assertEquals(await passwords.verify("any", undefined), false);
});

Deno.test("passwords: so many at once, so many wait, then it is busy", async () => {
  const derivations = new Derivations();
  const passwords = new Passwords({
    parallelMax: 2,
    waitingMax: 3,
    derive: derivations.derive,
  });
  const results = [1, 2, 3, 4, 5].map((number) => passwords.hash(`p${number}`));
  const busy = await assertRejects(() => passwords.hash("p6"), WireError);
  assertEquals(busy.code, "busy");
  assert(/try again in \d+ ms$/.test(busy.message), busy.message);
  assertEquals(derivations.calls.length, 2);
  assertEquals(passwords.waitingCount, 3);
  // In the order in which they came.
  for (let done = 0; done < results.length; done += 1) {
    derivations.calls[done].end();
    await results[done];
  }
  assertEquals(
    derivations.calls.map(({ password }) => password),
    ["p1", "p2", "p3", "p4", "p5"],
  );
  assertEquals(passwords.waitingCount, 0);
  const next = passwords.hash("p7");
  derivations.calls[5].end();
  await next;
});

Deno.test("passwords: a failed hash gives its place away", async () => {
  let calls = 0;
  const passwords = new Passwords({
    parallelMax: 1,
    derive: () => {
      calls += 1;
      return Promise.reject(new Error("no memory"));
    },
  });
  for (let time = 0; time < 3; time += 1) {
    await assertRejects(() => passwords.hash("x"), Error, "no memory");
  }
  assertEquals(calls, 3);
});

Deno.test("passwords: too long or no Unicode is refused before any hash", async () => {
  const derivations = new Derivations();
  const passwords = new Passwords({ derive: derivations.derive });
  for (const wrong of ["x".repeat(1_025), "\u20ac".repeat(342), "a\ud800"]) {
    assertEquals(await codeOf(passwords.hash(wrong)), "invalid-password");
    assertEquals(
      await codeOf(passwords.verify(wrong, FOREIGN)),
      "invalid-password",
    );
  }
  assertEquals(derivations.calls.length, 0);
});

Deno.test("passwords: PHC strings come back as they were", () => {
  fc.assert(fc.property(
    fc.uint8Array({ minLength: 9, maxLength: 64 }),
    fc.uint8Array({ minLength: 17, maxLength: 64 }),
    fc.integer({ min: 1, max: 17 }),
    (salt, hash, ln) => {
      const phc = formatPhc({ cost: { ln, r: 8, p: 1 }, salt, hash });
      const parsed = parsePhc(phc);
      assertEquals(parsed?.cost, { ln, r: 8, p: 1 });
      assertEquals([...parsed?.salt ?? []], [...salt]);
      assertEquals([...parsed?.hash ?? []], [...hash]);
      assert(phc.length <= 512);
    },
  ));
});

Deno.test("passwords: what is no PHC string of scrypt is none, without an exception", () => {
  const wrong = [
    "",
    "$",
    "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0$aGFzaA",
    FOREIGN.slice(1),
    `${FOREIGN}$x`,
    `${FOREIGN}\n`,
    FOREIGN.replace("ln=15", "ln=31"),
    FOREIGN.replace("ln=15", "ln=18"),
    FOREIGN.replace("ln=15", "ln=0"),
    FOREIGN.replace("ln=15", "ln=17").replace("r=8", "r=9"),
    FOREIGN.replace("r=8", "r=99"),
    FOREIGN.replace("p=1", "p=17"),
    FOREIGN.replace("ln=15,r=8", "r=8,ln=15"),
    FOREIGN.replace("ln=15", "ln=-1"),
    FOREIGN.replace("/", "_"),
    `$scrypt$ln=15,r=8,p=1$D/EEcdfcBkj4DQB3zlfsFQ$${"A".repeat(100_000)}`,
  ];
  for (const text of wrong) assertEquals(parsePhc(text), undefined, text);
  fc.assert(fc.property(fc.string(), (text) => {
    parsePhc(`$scrypt$${text}`);
  }));
});

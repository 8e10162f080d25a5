import { assertEquals, assertNotEquals } from "@std/assert";
import { RawClient } from "../chat/raw_client.ts";
import { Lan, lanTests } from "./lan.ts";

const PASSWORD = "correct horse";

/** So long a group waits for a member that is stopped. */
const PATIENT = { SKEIN_SUSPECT_AFTER: "20s" };

/** Accounts that people ask for in the same moment. */
const USERS = ["ann", "bob", "cid", "dan", "eva"] as const;

lanTests(import.meta.url, () => {
  Deno.test("discovery dissolve: people at a group that ends are told, and what they ask for in that moment is never said to be done", async () => {
    await using lan = new Lan({ servers: 4, environment: PATIENT });
    const [ant, bee, cow, dog] = lan.hosts;
    lan.divide([ant, bee]);
    await lan.start();
    const { lastIndex } = await lan.whole([ant, bee]);
    const high = await lan.whole([cow, dog]);
    await using idle = await RawClient.connect(bee.clients);
    assertEquals((await idle.ask({ type: "watch" })).type, "ok");
    await using asking = await Asking.at(bee.clients);

    // Nothing is committed without it: the group's end is in the log, and what
    // is asked for comes after it.
    await ant.freeze();
    lan.unite();
    await bee.process.line(/gives way to/);
    await asking.register();
    await lan.until("all of it is in the log", async () => {
      const status = await bee.status();
      return status && status.lastIndex > lastIndex + USERS.length;
    });
    ant.thaw();

    const [notice] = (await idle.toEnd()).slice(-1);
    assertEquals(notice?.code, "shutting-down");
    for (const client of asking.clients) {
      const answers = await client.toEnd();
      assertEquals(answers.map(({ outcome }) => outcome), ["indefinite"]);
    }
    const whole = await lan.whole();
    assertEquals([whole.group, whole.view?.voters.length], [high.group, 4]);
    await using later = await RawClient.connect(bee.clients);
    for (const user of USERS) {
      const account = { user, password: PASSWORD };
      const { code } = await later.ask({ type: "login", ...account });
      assertEquals(code, "wrong-password", `there is no ${user}`);
      const register = await later.ask({ type: "register", ...account });
      assertEquals(register.type, "ok", `${user} can come again`);
    }
  });

  Deno.test("discovery dissolve: a group in which somebody has asked for an account does not give way", async () => {
    await using lan = new Lan({ servers: 4, environment: PATIENT });
    const [ant, bee, cow, dog] = lan.hosts;
    lan.divide([ant, bee]);
    await lan.start();
    const low = await lan.whole([ant, bee]);
    const high = await lan.whole([cow, dog]);
    assertNotEquals(low.group, high.group);
    await using asking = await Asking.at(bee.clients);

    // What is asked for is in the log, and not committed yet.
    await ant.freeze();
    const { lastIndex } = low;
    await asking.register();
    await lan.until("all of it is in the log", async () => {
      const status = await bee.status();
      return status && status.lastIndex >= lastIndex + USERS.length;
    });
    lan.unite();
    await dog.process.line(/gives way to/);
    ant.thaw();
    for (const client of asking.clients) {
      assertEquals((await client.line())?.type, "ok");
    }
    const whole = await lan.whole();
    assertEquals([whole.group, whole.view?.voters.length], [low.group, 4]);
    await using later = await RawClient.connect(dog.clients);
    for (const user of USERS) {
      const account = { user, password: PASSWORD };
      const { type } = await later.ask({ type: "login", ...account });
      assertEquals(type, "ok", user);
      await later.ask({ type: "logout" });
    }
  });
});

/** People without accounts, each with a connection to the same server. */
class Asking implements AsyncDisposable {
  readonly clients: readonly RawClient[];

  private constructor(clients: readonly RawClient[]) {
    this.clients = clients;
  }

  static async at(address: string): Promise<Asking> {
    return new Asking(
      await Promise.all(USERS.map(() => RawClient.connect(address))),
    );
  }

  /** All ask for their accounts; nobody waits for an answer. */
  async register(): Promise<void> {
    for (const [at, user] of USERS.entries()) {
      const request = { type: "register", user, password: PASSWORD };
      await this.clients[at].write(`${JSON.stringify(request)}\n`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.clients) client.close();
    await Promise.resolve();
  }
}

/** Makes the sessions that a load's clients resume, once for all loads. */

import Type, { type Static } from "typebox";
import { Value } from "typebox/value";

/** What a client must show to go on with a session. */
export const Session = Type.Object({
  session: Type.String(),
  secret: Type.String(),
});
export type Session = Static<typeof Session>;

/** Sessions of one user; a further one would end the first. */
const USER_SESSIONS_MAX = 16;
/** Logins under way at one server: each hashes a password on purpose slowly. */
const LOGINS_MAX = 2;
const PASSWORD = "correct-horse-battery-staple";
const BUSY_WAIT_MS = 100;

/**
 * Registers `sink` and as many users as it takes, and logs them in.
 *
 * @throws {Error} When a server refuses for good.
 */
export async function makeSessions(
  ports: readonly number[],
  options: { readonly count: number; readonly sink: string },
): Promise<Session[]> {
  const { count, sink } = options;
  const users = Array.from(
    { length: Math.ceil(count / USER_SESSIONS_MAX) },
    (_, index) => `user-${index}`,
  );
  const lanes = ports.flatMap((port) =>
    Array.from({ length: LOGINS_MAX }, () => port)
  );
  const sessions: Session[] = [];
  await workOff([sink, ...users], lanes, async (user, port) => {
    await ask(port, { type: "register", user, password: PASSWORD });
  });
  const logins = Array.from(
    { length: count },
    (_, index) => users[Math.floor(index / USER_SESSIONS_MAX)],
  );
  await workOff(logins, lanes, async (user, port) => {
    const asked = { type: "login", user, password: PASSWORD };
    const answer = await ask(port, asked);
    if (!Value.Check(Session, answer)) throw new Error("No session");
    sessions.push({ session: answer.session, secret: answer.secret });
  });
  return sessions;
}

/** Reads a file of sessions. */
export function readSessions(path: string): Session[] {
  const value: unknown = JSON.parse(Deno.readTextFileSync(path));
  if (Value.Check(Type.Array(Session), value)) return value;
  throw new Error(`Found no sessions in "${path}"`);
}

/** Each lane takes the next task when it is done with one. */
async function workOff(
  tasks: readonly string[],
  lanes: readonly number[],
  work: (task: string, lane: number) => Promise<void>,
): Promise<void> {
  const open = [...tasks];
  await Promise.all(lanes.map(async (lane) => {
    for (;;) {
      const task = open.shift();
      if (task === undefined) return;
      await work(task, lane);
    }
  }));
}

/** One request on a connection of its own; again while the server is busy. */
export async function ask(
  port: number,
  request: Readonly<Record<string, unknown>>,
): Promise<Readonly<Record<string, unknown>>> {
  for (;;) {
    const answer = await askOnce(port, request);
    if (answer.type === "ok") return answer;
    const isBusy = answer.code === "busy" || answer.code === "no-primary";
    if (!isBusy) throw new Error(JSON.stringify(answer));
    await new Promise((resolve) => setTimeout(resolve, BUSY_WAIT_MS));
  }
}

async function askOnce(
  port: number,
  request: Readonly<Record<string, unknown>>,
): Promise<Readonly<Record<string, unknown>>> {
  using conn = await Deno.connect({ hostname: "127.0.0.1", port });
  await conn.write(new TextEncoder().encode(`${JSON.stringify(request)}\n`));
  let said = "";
  for await (const text of conn.readable.pipeThrough(new TextDecoderStream())) {
    said += text;
    const lines = said.split("\n");
    said = lines.pop() ?? "";
    for (const line of lines) {
      const answer: unknown = JSON.parse(line);
      const isAnswer = Value.Check(Answer, answer) &&
        (answer.type === "ok" || answer.type === "error");
      if (isAnswer) return answer;
    }
  }
  throw new Error("The server closed the connection");
}

const Answer = Type.Intersect([
  Type.Record(Type.String(), Type.Unknown()),
  Type.Object({ type: Type.String() }),
]);

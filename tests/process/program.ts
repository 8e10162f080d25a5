/** How the programs under test are started: from the checkout, or as built. */

const MAIN = new URL("../../main.ts", import.meta.url).pathname;

const GROUP = [
  "--allow-net",
  "--allow-read",
  "--allow-write",
  "--allow-sys=hostname,statfs,networkInterfaces",
  "--allow-env=SKEIN_*,HOSTNAME,SERVER*,REPLICA_PORT*,CLIENT_PORT*,WITNESS*,DATA_DIR",
] as const;

/** The same permissions as the executables have: see `deploy/build.ts`. */
const FROM_CHECKOUT = {
  "skein-chain": [
    "--allow-net",
    "--allow-read",
    "--allow-write",
    "--allow-sys=hostname",
    "--allow-env=SKEIN_*,HOSTNAME",
    MAIN,
    "chain",
  ],
  "skein-chat": [...GROUP, MAIN, "chat"],
  "skein-witness": [...GROUP, MAIN, "witness"],
  "skein-mesh": [
    "--allow-net",
    "--allow-read",
    "--allow-write",
    "--allow-sys=hostname,networkInterfaces",
    "--allow-env=SKEIN_*,HOSTNAME,WS_NO_BUFFER_UTIL,WS_NO_UTF_8_VALIDATE",
    MAIN,
    "mesh",
  ],
  "skein": [
    "--allow-net",
    "--allow-read",
    "--allow-sys=networkInterfaces",
    "--allow-env=SKEIN_*",
    MAIN,
    "client",
  ],
} as const;

/**
 * The command that is followed by a program's own arguments. With SKEIN_BIN
 * set it is the executable in that folder, else the checkout's `main.ts`.
 */
export function program(name: keyof typeof FROM_CHECKOUT): readonly string[] {
  const folder = Deno.env.get("SKEIN_BIN") ?? "";
  if (folder !== "") return [`${Deno.realPathSync(folder)}/${name}`];
  return [
    Deno.execPath(),
    ...["run", "--quiet", "--no-prompt"],
    ...FROM_CHECKOUT[name],
  ];
}

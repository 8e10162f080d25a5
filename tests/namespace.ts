/** Tests in a network of their own: a Linux network namespace, with nothing in it but loopback. */

import { fileURLToPath } from "node:url";

/** Set where the tests are to be run, and not to be sent elsewhere. */
const INSIDE = "SKEIN_TEST_NAMESPACE";

/** How the namespace is made, before the tests. */
export interface NamespaceOptions {
  /** The test file: its `import.meta.url`. */
  readonly file: string;
  /** What `/etc/resolv.conf` and `/etc/hosts` are to say there. */
  readonly resolvConf?: string;
  readonly hosts?: string;
}

/**
 * Defines the tests of a file, in a child process that runs it once more
 * inside a namespace; what is sent there reaches nobody. Where none can be
 * made, the tests are left out, and the reason is said.
 */
export function namespaceTests(
  options: NamespaceOptions,
  define: () => void,
): void {
  if (Deno.env.get(INSIDE) === "1") return define();
  const file = fileURLToPath(options.file);
  const name = file.slice(file.indexOf("tests/"));
  const reason = whyMissing();
  Deno.test({
    name: reason === undefined
      ? `${name}, in a network of its own`
      : `${name} (skipped: ${reason})`,
    ignore: reason !== undefined,
    fn: async () => {
      const { success, text } = await run(file, options);
      if (!success) throw new Error(`Failed in a namespace:\n${text}`);
    },
  });
}

/** Runs `ip` with these words; for tests inside. */
export function ip(...args: string[]): void {
  const { success, stderr } = new Deno.Command("ip", {
    args,
    stdin: "null",
    stdout: "null",
  }).outputSync();
  if (success) return;
  const text = new TextDecoder().decode(stderr).trim();
  throw new Error(`Cannot "ip ${args.join(" ")}": ${text}`);
}

function whyMissing(): string | undefined {
  if (Deno.build.os !== "linux") return "not on Linux";
  if (Deno.uid() !== 0) return "not root";
  const { success, stderr } = new Deno.Command("unshare", {
    args: ["--net", "--mount", "ip", "link", "set", "lo", "up"],
    stdin: "null",
    stdout: "null",
  }).outputSync();
  return success ? undefined : new TextDecoder().decode(stderr).trim();
}

async function run(
  file: string,
  options: NamespaceOptions,
): Promise<{ readonly success: boolean; readonly text: string }> {
  const folder = Deno.makeTempDirSync();
  try {
    const mounts: string[] = [];
    for (const name of ["resolvConf", "hosts"] as const) {
      const text = options[name];
      if (text === undefined) continue;
      Deno.writeTextFileSync(`${folder}/${name}`, text);
      const place = name === "hosts" ? "/etc/hosts" : "/etc/resolv.conf";
      mounts.push(`mount --bind '${folder}/${name}' ${place}`);
    }
    const script = ["ip link set lo up", ...mounts, 'exec "$@"'].join(" && ");
    const { success, stdout, stderr } = await new Deno.Command("unshare", {
      args: [
        ...["--net", "--mount", "sh", "-c", script, "sh"],
        // Its types were checked before it began this.
        ...[Deno.execPath(), "test", "--quiet", "-A", "--no-check", file],
      ],
      env: { [INSIDE]: "1", NO_COLOR: "1" },
      stdin: "null",
    }).output();
    const decoder = new TextDecoder();
    return {
      success,
      text: `${decoder.decode(stdout)}${decoder.decode(stderr)}`,
    };
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

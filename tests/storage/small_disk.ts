/** A disk that is really small. Needs the right to mount one. */

/** Why a disk cannot be mounted here; nothing if it can. */
export function whyNoSmallDisk(): string | undefined {
  const directory = Deno.makeTempDirSync();
  try {
    run("mount", ["-t", "tmpfs", "-o", "size=64k", "skein-test", directory]);
    run("umount", [directory]);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    Deno.removeSync(directory);
  }
}

/** Calls `test` with the directory of an empty disk of so many bytes. */
export async function onSmallDisk(
  bytes: number,
  test: (directory: string) => Promise<void>,
): Promise<void> {
  const directory = Deno.makeTempDirSync();
  const options = `size=${bytes},mode=0700`;
  run("mount", ["-t", "tmpfs", "-o", options, "skein-test", directory]);
  try {
    await test(directory);
  } finally {
    run("umount", ["--lazy", directory]);
    Deno.removeSync(directory);
  }
}

function run(command: string, args: string[]): void {
  const { success, stderr } = new Deno.Command(command, { args }).outputSync();
  if (success) return;
  throw new Error(new TextDecoder().decode(stderr).trim());
}

import { assert, assertEquals, assertThrows } from "@std/assert";
import { DirectoryLock } from "../../storage/directory_lock.ts";
import { StorageError } from "../../storage/errors.ts";
import { plant } from "./planted.ts";

const MODULE = import.meta.resolve("../../storage/directory_lock.ts");
const ROUNDS = 300;
const CHILDREN = 3;

Deno.test("directory lock: makes the directory, and says who holds it", () => {
  withDirectory((directory) => {
    const path = `${directory}/a/data`;
    using lock = DirectoryLock.acquire(path);
    assertEquals(lock.directory, path);
    assertEquals((Deno.statSync(path).mode ?? 0) & 0o777, 0o700);
    assertEquals(Deno.readTextFileSync(`${path}/lock`), `${Deno.pid}\n`);
    const error = assertThrows(() => DirectoryLock.acquire(path), StorageError);
    assertEquals([error.code, error.path], ["locked", path]);
    assertEquals(
      error.message,
      `Cannot open "${path}": it is in use by process ${Deno.pid}`,
    );
  });
});

Deno.test("directory lock: a released one can be had again, and releases once", () => {
  withDirectory((directory) => {
    const first = DirectoryLock.acquire(directory);
    first.release();
    using _second = DirectoryLock.acquire(directory);
    first.release();
    assertThrows(() => DirectoryLock.acquire(directory), StorageError);
  });
});

Deno.test("directory lock: what the file says means nothing while nobody holds it", () => {
  for (
    const text of ["", "1\n", `${Deno.pid}\n`, "not a number", "9".repeat(99)]
  ) {
    withDirectory((directory) => {
      Deno.writeTextFileSync(`${directory}/lock`, text);
      using _lock = DirectoryLock.acquire(directory);
      assertEquals(Deno.readTextFileSync(`${directory}/lock`), `${Deno.pid}\n`);
    });
  }
});

Deno.test("directory lock: a holder that has not written its id yet is another process", () => {
  withDirectory((directory) => {
    using file = Deno.openSync(`${directory}/lock`, {
      write: true,
      create: true,
    });
    assert(file.tryLockSync(true));
    const error = assertThrows(
      () => DirectoryLock.acquire(directory),
      StorageError,
    );
    assertEquals(
      error.message,
      `Cannot open "${directory}": it is in use by another process`,
    );
  });
});

Deno.test("directory lock: a directory that cannot be had says why", () => {
  withDirectory((directory) => {
    Deno.writeTextFileSync(`${directory}/file`, "");
    for (const path of [`${directory}/file`, `${directory}/file/data`]) {
      const error = assertThrows(
        () => DirectoryLock.acquire(path),
        StorageError,
        `Cannot open "${path}": `,
      );
      assertEquals(error.code, "open-failed");
      assert(error.cause instanceof Error);
    }
  });
});

Deno.test("directory lock: two processes never hold one directory, and SIGKILL frees it", async () => {
  await withDirectoryAsync(async (directory) => {
    const child = start([MODULE, directory]);
    assertEquals(await firstLine(child), "held");
    const error = assertThrows(
      () => DirectoryLock.acquire(directory),
      StorageError,
    );
    assertEquals(
      error.message,
      `Cannot open "${directory}": it is in use by process ${child.pid}`,
    );
    child.kill("SIGKILL");
    await child.status;
    await child.stdin.close();
    {
      using _lock = DirectoryLock.acquire(directory);
      assertEquals(
        await secondHolder(MODULE, directory),
        error.message
          .replace(`${child.pid}`, `${Deno.pid}`),
      );
    }
    assertEquals(await secondHolder(MODULE, directory), "held");
  });
});

Deno.test("directory lock: that check fails if the lock is not looked at", async () => {
  const planted = plantedWithoutLock();
  try {
    await withDirectoryAsync(async (directory) => {
      using _lock = DirectoryLock.acquire(directory);
      const module = `file://${planted}/directory_lock.ts`;
      assertEquals(await secondHolder(module, directory), "held");
    });
  } finally {
    Deno.removeSync(planted, { recursive: true });
  }
});

Deno.test("directory lock: processes that fight for it are in it one at a time", async () => {
  await withDirectoryAsync(async (directory) => {
    const children = Array.from(
      { length: CHILDREN },
      () => start([MODULE, directory, `${ROUNDS}`]),
    );
    for (const child of children) await child.stdin.close();
    for (const child of children) {
      const { success, stdout } = await child.output();
      assert(success);
      assertEquals(new TextDecoder().decode(stdout), "intrusions 0\n");
    }
  });
});

function plantedWithoutLock(): string {
  return plant({
    file: "directory_lock.ts",
    find: "!file.tryLockSync(true)",
    replace: "false",
  });
}

function start(args: string[]): Deno.ChildProcess {
  const script = new URL("lock_child.ts", import.meta.url).pathname;
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "--no-lock", "-A", script, ...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
}

/** What a process says that tries to lock the directory, and then ends. */
async function secondHolder(
  module: string,
  directory: string,
): Promise<string> {
  const child = start([module, directory]);
  await child.stdin.close();
  const { stdout } = await child.output();
  return new TextDecoder().decode(stdout).trimEnd();
}

async function firstLine(child: Deno.ChildProcess): Promise<string> {
  let text = "";
  for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (text.includes("\n")) break;
  }
  return text.slice(0, text.indexOf("\n"));
}

function withDirectory(test: (directory: string) => void): void {
  const directory = Deno.makeTempDirSync();
  try {
    test(directory);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

async function withDirectoryAsync(
  test: (directory: string) => Promise<void>,
): Promise<void> {
  const directory = Deno.makeTempDirSync();
  try {
    await test(directory);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

/** Files of records on a simulated disk, ready for a test. */

import type { Disk } from "../../storage/disk.ts";
import { RecordFile } from "../../storage/record_file.ts";
import { Random } from "../sim/random.ts";
import { SimDisk } from "../sim/sim_disk.ts";

/** Where the tests keep their file. */
export const PATH = "/data/test.log";

/** The kind and the bound of that file. */
export const KIND = "test";
export const RECORD_BYTES_MAX = 8192;

/** What opening gave. */
export interface Opened {
  readonly file: RecordFile;
  readonly created: boolean;
  readonly cutBytes: number;
  readonly payloads: Uint8Array[];
  readonly positions: number[];
}

/** A disk without delay, with `/data` in it. */
export function simDisk(seed = 1): SimDisk {
  const disk = new SimDisk({
    random: new Random(seed),
    wait: () => Promise.resolve(),
  });
  disk.createDirectory("/data");
  return disk;
}

/** Opens {@linkcode PATH} and collects what is in it. */
export async function open(
  disk: Disk,
  options: {
    readonly class?: typeof RecordFile;
    readonly recordBytesMax?: number;
    readonly aheadBytes?: number;
  } = {},
): Promise<Opened> {
  const payloads: Uint8Array[] = [];
  const positions: number[] = [];
  const opened = await (options.class ?? RecordFile).open(disk, PATH, {
    kind: KIND,
    recordBytesMax: options.recordBytesMax ?? RECORD_BYTES_MAX,
    aheadBytes: options.aheadBytes,
    onRecord: (payload, position) => {
      payloads.push(payload);
      positions.push(position);
    },
  });
  return { ...opened, payloads, positions };
}

/** All bytes of a file. */
export function readAll(disk: Disk, path = PATH): Uint8Array<ArrayBuffer> {
  const file = disk.open(path);
  if (file === undefined) throw new Error(`No file "${path}"`);
  const bytes = new Uint8Array(file.size());
  for (let at = 0; at < bytes.length;) {
    at += file.read(bytes.subarray(at), at);
  }
  file.close();
  return bytes;
}

/** A disk that holds exactly these bytes at {@linkcode PATH}, synced. */
export async function diskWith(bytes: Uint8Array): Promise<SimDisk> {
  const disk = simDisk();
  const file = disk.create(PATH);
  file.write(bytes, 0);
  await file.sync();
  await disk.syncDirectory("/data");
  file.close();
  return disk;
}

/** The bytes of a text. */
export function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

/** The texts of some payloads. */
export function textsOf(payloads: readonly Uint8Array[]): string[] {
  return payloads.map((payload) => new TextDecoder().decode(payload));
}

import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { crc32c } from "../../storage/crc32c.ts";

const ascending = Uint8Array.from({ length: 32 }, (_, i) => i);

// RFC 3720, appendix B.4, whose bytes are the value's lowest first; and the
// check value of the CRC catalogue.
const VECTORS: [name: string, bytes: Uint8Array, crc: number][] = [
  ["nothing", new Uint8Array(0), 0],
  ["32 bytes of zeros", new Uint8Array(32), 0x8a9136aa],
  ["32 bytes of ones", new Uint8Array(32).fill(255), 0x62a8ab43],
  ["32 bytes rising", ascending, 0x46dd794e],
  ["32 bytes falling", ascending.toReversed(), 0x113fdb5c],
  ["an iSCSI SCSI Read (10) command", iscsiRead(), 0xd9963a56],
  ["the digits 1 to 9", new TextEncoder().encode("123456789"), 0xe3069283],
];

for (const [name, bytes, crc] of VECTORS) {
  Deno.test(`crc32c: ${name}`, () => assertEquals(crc32c(bytes), crc));
}

Deno.test("crc32c: equals the definition, bit by bit, at any length and offset", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      fc.nat(17),
      (bytes, offset) => {
        const part = bytes.subarray(offset);
        assertEquals(crc32c(part), bitByBit(part));
      },
    ),
  );
});

Deno.test("crc32c: goes on from where it was", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 100 }),
      fc.nat(100),
      (bytes, split) => {
        const first = crc32c(bytes.subarray(0, split));
        assertEquals(crc32c(bytes.subarray(split), first), crc32c(bytes));
      },
    ),
  );
});

function iscsiRead(): Uint8Array {
  const bytes = new Uint8Array(48);
  bytes.set([0x01, 0xc0], 0);
  bytes.set([0x14], 16);
  bytes.set([0x04], 22);
  bytes.set([0x14], 27);
  bytes.set([0x18], 31);
  bytes.set([0x28], 32);
  bytes.set([0x02], 40);
  return bytes;
}

function bitByBit(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) {
      crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
    }
  }
  return ~crc >>> 0;
}

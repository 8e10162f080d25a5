/** CRC-32C (Castagnoli), the checksum of everything that Skein keeps on disk. */

/** 0x1EDC6F41 with its bits reversed: bytes are taken lowest bit first. */
const POLYNOMIAL = 0x82f63b78;

/** Bytes taken in one step of the loop ("slicing by 16"). */
const SLICE_BYTES = 16;

/**
 * `TABLES[k * 256 + b]` is the remainder of byte `b` followed by `k` zero bytes.
 * One flat array: the compiler then keeps a single base address.
 */
const TABLES = makeTables();

/**
 * Checksums `bytes`, or continues a checksum:
 * `crc32c(b, crc32c(a)) === crc32c(ab)`.
 *
 * @param previous Checksum of what came before, 0 to 2^32 - 1; 0 for nothing.
 * @returns 0 to 2^32 - 1.
 * @see RFC 3720, section 12.1 and appendix B.4
 * @see Kounavis and Berry, "A Systematic Approach to Building High Performance
 * Software-Based CRC Generators" (2005), for the slicing
 */
export function crc32c(bytes: Uint8Array, previous = 0): number {
  const t = TABLES;
  const slicedEnd = bytes.length - SLICE_BYTES + 1;
  let crc = ~previous;
  let i = 0;
  for (; i < slicedEnd; i += SLICE_BYTES) {
    crc ^= bytes[i] | bytes[i + 1] << 8 | bytes[i + 2] << 16 |
      bytes[i + 3] << 24;
    crc = t[3840 + (crc & 255)] ^ t[3584 + (crc >>> 8 & 255)] ^
      t[3328 + (crc >>> 16 & 255)] ^ t[3072 + (crc >>> 24)] ^
      t[2816 + bytes[i + 4]] ^ t[2560 + bytes[i + 5]] ^
      t[2304 + bytes[i + 6]] ^ t[2048 + bytes[i + 7]] ^
      t[1792 + bytes[i + 8]] ^ t[1536 + bytes[i + 9]] ^
      t[1280 + bytes[i + 10]] ^ t[1024 + bytes[i + 11]] ^
      t[768 + bytes[i + 12]] ^ t[512 + bytes[i + 13]] ^
      t[256 + bytes[i + 14]] ^ t[bytes[i + 15]];
  }
  for (; i < bytes.length; i++) {
    crc = crc >>> 8 ^ t[(crc ^ bytes[i]) & 255];
  }
  return ~crc >>> 0;
}

function makeTables(): Int32Array {
  const tables = new Int32Array(SLICE_BYTES * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) {
      crc = crc & 1 ? crc >>> 1 ^ POLYNOMIAL : crc >>> 1;
    }
    tables[byte] = crc;
  }
  for (let i = 256; i < tables.length; i++) {
    const shorter = tables[i - 256];
    tables[i] = shorter >>> 8 ^ tables[shorter & 255];
  }
  return tables;
}

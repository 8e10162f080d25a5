/** MessagePack, as far as serf's agents speak it over RPC. */

/** What is said to an agent: small numbers and short texts, by name. */
export type PackedFields = Readonly<Record<string, string | number>>;

/** What came, and where the next thing begins. */
export interface Unpacked {
  readonly value: unknown;
  readonly end: number;
}

const NAMES_MAX = 15;
const CHARACTERS_MAX = 31;
const NUMBER_MAX = 2 ** 32 - 1;

/** @throws {RangeError} When it is more than an agent is ever told here. */
export function pack(fields: PackedFields): Uint8Array {
  const entries = Object.entries(fields);
  if (entries.length > NAMES_MAX) {
    throw new RangeError(`Found ${entries.length} names, limit ${NAMES_MAX}`);
  }
  const bytes = [0x80 | entries.length];
  for (const [name, value] of entries) {
    bytes.push(...packText(name));
    bytes.push(
      ...typeof value === "string" ? packText(value) : packNumber(value),
    );
  }
  return new Uint8Array(bytes);
}

/**
 * Reads one thing.
 *
 * @returns Undefined when it is not all there yet. Bytes are read as text.
 * @throws {RangeError} When it is nothing that an agent says.
 */
export function unpack(bytes: Uint8Array, at: number): Unpacked | undefined {
  const reader = new Reader(bytes, at);
  try {
    return { value: reader.read(), end: reader.at };
  } catch (error) {
    if (error instanceof NotAllThere) return undefined;
    throw error;
  }
}

/** More bytes have to come. */
class NotAllThere extends Error {}

class Reader {
  at: number;
  readonly #view: DataView;

  constructor(bytes: Uint8Array, at: number) {
    this.#view = new DataView(
      bytes.buffer,
      bytes.byteOffset,
      bytes.byteLength,
    );
    this.at = at;
  }

  read(): unknown {
    const kind = this.#number(1);
    if (kind < 0x80) return kind;
    if (kind < 0x90) return this.#map(kind & 0x0f);
    if (kind < 0xa0) return this.#array(kind & 0x0f);
    if (kind < 0xc0) return this.#text(kind & 0x1f);
    if (kind >= 0xe0) return kind - 0x100;
    switch (kind) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
      case 0xd9:
        return this.#text(this.#number(1));
      case 0xc5:
      case 0xda:
        return this.#text(this.#number(2));
      case 0xc6:
      case 0xdb:
        return this.#text(this.#number(4));
      case 0xcc:
        return this.#number(1);
      case 0xcd:
        return this.#number(2);
      case 0xce:
        return this.#number(4);
      case 0xdc:
        return this.#array(this.#number(2));
      case 0xdd:
        return this.#array(this.#number(4));
      case 0xde:
        return this.#map(this.#number(2));
      case 0xdf:
        return this.#map(this.#number(4));
      default:
        throw new RangeError(
          `Found kind 0x${kind.toString(16)}, which no agent of serf sends`,
        );
    }
  }

  #map(count: number): Record<string, unknown> {
    const map: Record<string, unknown> = {};
    for (let i = 0; i < count; i += 1) map[String(this.read())] = this.read();
    return map;
  }

  #array(count: number): unknown[] {
    const array: unknown[] = [];
    for (let i = 0; i < count; i += 1) array.push(this.read());
    return array;
  }

  #text(length: number): string {
    const at = this.#take(length);
    const { buffer, byteOffset } = this.#view;
    return new TextDecoder().decode(
      new Uint8Array(buffer, byteOffset + at, length),
    );
  }

  #number(length: 1 | 2 | 4): number {
    const at = this.#take(length);
    switch (length) {
      case 1:
        return this.#view.getUint8(at);
      case 2:
        return this.#view.getUint16(at);
      case 4:
        return this.#view.getUint32(at);
    }
  }

  #take(length: number): number {
    const at = this.at;
    if (at + length > this.#view.byteLength) throw new NotAllThere();
    this.at += length;
    return at;
  }
}

function packText(text: string): number[] {
  const bytes = new TextEncoder().encode(text);
  if (bytes.length > CHARACTERS_MAX) {
    throw new RangeError(
      `Found ${bytes.length} bytes, limit ${CHARACTERS_MAX}`,
    );
  }
  return [0xa0 | bytes.length, ...bytes];
}

function packNumber(value: number): number[] {
  if (!Number.isInteger(value) || value < 0 || value > NUMBER_MAX) {
    throw new RangeError(`Found ${value}, wanted 0 to ${NUMBER_MAX}`);
  }
  if (value < 0x80) return [value];
  const bytes = new Uint8Array(5);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, 0xce);
  view.setUint32(1, value);
  return [...bytes];
}

/**
 * Deep equality, as `@std/assert` means it.
 *
 * `isDeepStrictEqual` of `node:util` is not it: that one tells 0 from -0 and
 * `{}` from an object without a prototype, and does not look through getters,
 * so that two objects with different private fields are the same to it.
 */

/** Pairs taken to be equal while they are compared: what a cycle comes back to. */
type Pairs = Map<object, Set<object>>;

/** What the typed arrays have in common that is compared. */
type TypedArray = ArrayLike<number | bigint>;

/** Types whose text says all there is to compare. */
const TEXTUAL = [RegExp, URL, URLSearchParams];

/**
 * Whether two values are deeply equal. 0 equals -0, NaN equals NaN, and an
 * object without a prototype equals a plain one; a missing field differs from an
 * undefined one. Maps and sets compare without order. Cycles are followed once.
 * Two errors made in two places differ, as their stacks do.
 *
 * @throws {TypeError} For two `WeakMap`s or two `WeakSet`s: nobody can list them.
 */
export function equal(a: unknown, b: unknown): boolean {
  return same(a, b, new Map());
}

function same(a: unknown, b: unknown, assumed: Pairs): boolean {
  if (a === b || Object.is(a, b)) return true;
  if (!isObject(a) || !isObject(b)) return false;
  if (a instanceof Date && b instanceof Date) {
    return Object.is(a.getTime(), b.getTime());
  }
  if (prototypeOf(a) !== prototypeOf(b)) return false;
  // A difference inside a cycle shows where it is, not where the cycle closes.
  const pairs = assumed.get(a) ?? new Set();
  assumed.set(a, pairs);
  if (pairs.has(b)) return true;
  pairs.add(b);
  const result = sameContent(a, b, assumed);
  if (!result) pairs.delete(b);
  return result;
}

/** Compares two objects of one type. */
function sameContent(a: object, b: object, assumed: Pairs): boolean {
  if (a instanceof WeakMap || a instanceof WeakSet) {
    throw new TypeError("Cannot compare two WeakMaps or WeakSets");
  }
  if (a instanceof WeakRef && b instanceof WeakRef) {
    return same(a.deref(), b.deref(), assumed);
  }
  if (a instanceof Map && b instanceof Map) return sameMaps(a, b, assumed);
  if (a instanceof Set && b instanceof Set) {
    return sameMaps(new Map(a.entries()), new Map(b.entries()), assumed);
  }
  if (TEXTUAL.some((type) => a instanceof type)) return String(a) === String(b);
  if (isBuffer(a) && isBuffer(b)) {
    return sameElements(new Uint8Array(a), new Uint8Array(b));
  }
  if (isTypedArray(a) && isTypedArray(b)) return sameElements(a, b);
  return sameProperties(a, b, assumed);
}

function sameElements(a: TypedArray, b: TypedArray): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i += 1) {
    if (a[i] !== b[i] && !Object.is(a[i], b[i])) return false;
  }
  return true;
}

function sameMaps(
  a: Map<unknown, unknown>,
  b: Map<unknown, unknown>,
  assumed: Pairs,
): boolean {
  if (a.size !== b.size) return false;
  const unmet = new Map(b);
  // Each key of its own is looked up; only the others are searched for.
  const strangers = a.entries().filter(([key, value]) => {
    const met = unmet.has(key) && same(value, unmet.get(key), assumed);
    if (met) unmet.delete(key);
    return !met;
  }).toArray();
  return strangers.every((entry) => {
    for (const other of unmet) {
      if (!same(entry, other, assumed)) continue;
      return unmet.delete(other[0]);
    }
    return false;
  });
}

function sameProperties(a: object, b: object, assumed: Pairs): boolean {
  const keys = keysOf(a);
  return keys.size === keysOf(b).size &&
    keys.values().every((key) =>
      key in b && same(Reflect.get(a, key), Reflect.get(b, key), assumed)
    );
}

/**
 * What to compare: of plain objects and arrays the enumerable fields; of any
 * other class all fields and, up its prototypes, the getters.
 */
function keysOf(value: object): Set<PropertyKey> {
  const own = Reflect.ownKeys(value);
  if (isPlain(value)) {
    const enumerable = Object.prototype.propertyIsEnumerable;
    return new Set(own.filter((key) => enumerable.call(value, key)));
  }
  const keys = new Set<PropertyKey>(own);
  let prototype = Object.getPrototypeOf(value);
  while (prototype !== null && prototype !== Object.prototype) {
    for (const key of Reflect.ownKeys(prototype)) keys.add(key);
    prototype = Object.getPrototypeOf(prototype);
  }
  return keys;
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

function isPlain(value: object): boolean {
  return prototypeOf(value) === Object.prototype || Array.isArray(value);
}

function isTypedArray(value: object): value is TypedArray & object {
  return ArrayBuffer.isView(value) && !(value instanceof DataView);
}

function isBuffer(value: object): value is ArrayBufferLike {
  return value instanceof ArrayBuffer || value instanceof SharedArrayBuffer;
}

function prototypeOf(value: object): object {
  return Object.getPrototypeOf(value) ?? Object.prototype;
}

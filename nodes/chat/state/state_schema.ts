/** The tables of `state.db`, and how rows of SQLite become rows of the state. */

import type { DatabaseSync } from "node:sqlite";
import { type Epoch, EPOCH_NONE, isStoreId } from "../../../protocol/epoch.ts";
import { isStateHash, STATE_HASH_NONE } from "./state_hash.ts";

/** Of the tables below; a file of another version is thrown away and rebuilt. */
export const SCHEMA_VERSION = 1;

/** `SKST`: tells Skein's file from any other of SQLite. */
export const APPLICATION_ID = 0x534b5354;

/** Where a database stands. */
export interface StateMark {
  /** Index and epoch of the last entry in it. */
  readonly index: number;
  readonly epoch: Epoch;
  /** The running hash there. */
  readonly hash: string;
  /** Rows in the table of messages. */
  readonly messages: number;
}

/**
 * Messages lie in the order of their ids, so that new ones are added at the
 * end; an index with a row for each would cost twice as much as the message.
 * `inbox` has a row for each recipient in each batch instead, and in it the ids.
 */
const TABLES = `
create table mark (
  one integer primary key check (one = 1),
  "index" integer not null, epoch_counter integer not null,
  epoch_store text not null, hash text not null, messages integer not null);
create table user (
  id integer primary key, name text not null, phc text not null,
  token text not null, created_ms integer not null,
  read_up_to integer not null);
create table deleted_user (
  id integer primary key, token text not null, at integer not null);
create index deleted_user_at on deleted_user (at);
create table sweep (user integer primary key);
create table session (
  id text primary key, secret_hash text not null, user integer not null,
  opened integer not null, used integer not null, used_ms integer not null,
  sequence integer not null, results blob not null) without rowid;
create table ended_session (
  id text primary key, at integer not null, sequence integer not null,
  result integer not null) without rowid;
create index ended_session_at on ended_session (at);
create table message (
  id integer primary key, from_user integer not null,
  to_user integer not null, time integer not null, text text not null);
create table inbox (
  user integer not null, first integer not null, ids blob not null,
  primary key (user, first)) without rowid;
`;

/** Makes the tables of an empty database. */
export function createTables(database: DatabaseSync): void {
  database.exec(`begin;
    ${TABLES}
    insert into mark values (1, 0, ${EPOCH_NONE.counter}, '${EPOCH_NONE.store}', '${STATE_HASH_NONE}', 0);
    pragma application_id = ${APPLICATION_ID};
    pragma user_version = ${SCHEMA_VERSION};
    commit;`);
}

/** One row of SQLite, by the names of its columns. */
export type Row = Readonly<Record<string, unknown>>;

/** A row of SQLite is not what was once written there. */
export class RowError extends Error {
  override readonly name = "RowError";
}

/** A whole number, 0 to 2^53 - 1. */
export function numberAt(row: Row, column: string): number {
  const value = row[column];
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
    throw new RowError(`Column ${column} has ${value}, wanted a whole number`);
  }
  return value;
}

/** A text. */
export function textAt(row: Row, column: string): string {
  const value = row[column];
  if (typeof value !== "string") {
    throw new RowError(`Column ${column} has no text`);
  }
  return value;
}

/** Bytes, the caller's own. */
export function bytesAt(row: Row, column: string): Uint8Array {
  const value = row[column];
  if (!(value instanceof Uint8Array)) {
    throw new RowError(`Column ${column} has no bytes`);
  }
  return value;
}

/** The row of the table `mark`. */
export function markOf(row: Row): StateMark {
  const store = textAt(row, "epoch_store");
  const hash = textAt(row, "hash");
  if (!isStoreId(store) || !isStateHash(hash)) {
    throw new RowError(
      `The mark has epoch store "${store}" and hash "${hash}"`,
    );
  }
  return {
    index: numberAt(row, "index"),
    epoch: { counter: numberAt(row, "epoch_counter"), store },
    hash,
    messages: numberAt(row, "messages"),
  };
}

/** Whole numbers below 2^53 as bytes, 8 each, little-endian. */
export function packNumbers(numbers: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(numbers.length * 8);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < numbers.length; at += 1) {
    view.setUint32(at * 8, numbers[at] % 2 ** 32, true);
    view.setUint32(at * 8 + 4, Math.floor(numbers[at] / 2 ** 32), true);
  }
  return bytes;
}

/** Reads what {@linkcode packNumbers} made. */
export function unpackNumbers(bytes: Uint8Array): number[] {
  if (bytes.length % 8 !== 0) {
    throw new RowError(`${bytes.length} bytes are no list of numbers`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const numbers: number[] = [];
  for (let at = 0; at < bytes.length; at += 8) {
    numbers.push(
      view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32,
    );
  }
  return numbers;
}

/** Ids as bytes: each as its distance to the one before, 7 bits a byte, lowest first. */
export function packIds(ids: readonly number[]): Uint8Array {
  const bytes: number[] = [];
  let last = 0;
  for (const id of ids) {
    let rest = id - last;
    last = id;
    while (rest >= 128) {
      bytes.push(128 + rest % 128);
      rest = Math.floor(rest / 128);
    }
    bytes.push(rest);
  }
  return Uint8Array.from(bytes);
}

/** Reads what {@linkcode packIds} made. */
export function unpackIds(bytes: Uint8Array): number[] {
  const ids: number[] = [];
  let last = 0;
  let rest = 0;
  let scale = 1;
  for (const byte of bytes) {
    rest += (byte % 128) * scale;
    scale *= 128;
    if (byte >= 128) continue;
    last += rest;
    ids.push(last);
    rest = 0;
    scale = 1;
  }
  if (scale !== 1 || !Number.isSafeInteger(last)) {
    throw new RowError(`${bytes.length} bytes are no list of ids`);
  }
  return ids;
}

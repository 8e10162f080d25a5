/** The words of a replicated group as frames; see `WIRE.md#replica`. */

import {
  compareEpochs,
  type Epoch,
  EPOCH_NONE,
  formatEpoch,
  isSameEpoch,
} from "./epoch.ts";
import { WireError } from "./errors.ts";
import {
  FRAME,
  type Frame,
  FRAME_HEADER_BYTES,
  readUint32,
  readUint53,
  writeFrameHeader,
  writeUint32,
  writeUint53,
} from "./frame.ts";
import { FRAME_BYTES_MAX } from "./limits.ts";
import {
  COMMAND_BYTES_MAX,
  type LogEntry,
  type LogPosition,
  type ReplicaMessage,
} from "./replica.ts";
import { encodeReplicaTalk, readReplicaTalk } from "./replica_talk.ts";

const EPOCH_BYTES = 16;
const LENGTH_BYTES = 4;

/** In the length of an entry: its epoch stands before its command. */
const HAS_EPOCH = 0x8000_0000;

const FLAG_WRITABLE = 1;

const FLAG_REACHES_ALL = 1;
const FLAG_DRAINING = 2;

// Payloads up to their entries or commands, the number of which comes last.
const APPEND_HEAD_BYTES = EPOCH_BYTES + 8 + EPOCH_BYTES + 8 + 4;
const FETCHED_HEAD_BYTES = 8 + 4;
const FORWARD_HEAD_BYTES = 4;

type Append = ReplicaMessage & { kind: "append" };
type Fetched = ReplicaMessage & { kind: "fetched" };

/**
 * A message as whole frames, one after another: an append, a `forward` and a
 * `fetched` that no frame holds becomes several, each complete in itself.
 *
 * @throws {RangeError} A command above its bound, or a gap between entries:
 * the caller's mistake.
 */
export function encodeReplicaMessage(
  message: ReplicaMessage,
): Uint8Array<ArrayBuffer> {
  switch (message.kind) {
    case "append":
      return encodeAppend(message);
    case "appended": {
      const frame = newFrame(FRAME.replicaAppended, EPOCH_BYTES + 8);
      const at = writeEpoch(frame, FRAME_HEADER_BYTES, message.epoch);
      writeUint53(frame, at, message.index);
      return frame;
    }
    case "heartbeat": {
      const frame = newFrame(FRAME.replicaHeartbeat, EPOCH_BYTES + 17);
      const at = writeEpoch(frame, FRAME_HEADER_BYTES, message.epoch);
      writeUint53(frame, at, message.round);
      writeUint53(frame, at + 8, message.commit);
      frame[at + 16] = message.isWritable ? FLAG_WRITABLE : 0;
      return frame;
    }
    case "heartbeat-answer": {
      const frame = newFrame(FRAME.replicaHeartbeatAnswer, EPOCH_BYTES + 9);
      const at = writeEpoch(frame, FRAME_HEADER_BYTES, message.epoch);
      writeUint53(frame, at, message.round);
      frame[at + 8] = (message.reachesAll ? FLAG_REACHES_ALL : 0) |
        (message.isDraining ? FLAG_DRAINING : 0);
      return frame;
    }
    case "forward":
      return encodeForward(message.commands);
    case "fetched":
      return encodeFetched(message);
    case "pre-vote":
    case "pre-vote-answer":
    case "prepare":
    case "promise":
    case "refuse":
    case "accept":
    case "accepted":
    case "active":
    case "unaware":
    case "election":
    case "alive":
    case "mismatch":
    case "read-index":
    case "read-index-answer":
    case "snapshot-needed":
    case "leaving":
    case "fetch":
      return encodeReplicaTalk(message);
  }
}

/**
 * The message in a frame. Commands are views of one copy of the frame's bytes,
 * not of the frame itself: they outlive the buffer that it was read into, and
 * those that came together are kept together.
 *
 * @throws {WireError} `invalid-message`, `invalid-utf8` or `too-large`: close
 * the link.
 */
export function decodeReplicaMessage(frame: Frame): ReplicaMessage {
  const { kind, payload } = frame;
  switch (kind) {
    case FRAME.replicaAppend:
      return decodeAppend(payload);
    case FRAME.replicaAppended:
      checkLength(payload, "appended", EPOCH_BYTES + 8);
      return {
        kind: "appended",
        epoch: readEpoch(payload, 0),
        index: readUint53(payload, EPOCH_BYTES),
      };
    case FRAME.replicaHeartbeat:
      checkLength(payload, "heartbeat", EPOCH_BYTES + 17);
      return {
        kind: "heartbeat",
        epoch: readEpoch(payload, 0),
        round: readUint53(payload, EPOCH_BYTES),
        commit: readUint53(payload, EPOCH_BYTES + 8),
        isWritable: (payload[EPOCH_BYTES + 16] & FLAG_WRITABLE) !== 0,
      };
    case FRAME.replicaHeartbeatAnswer: {
      checkLength(payload, "heartbeat answer", EPOCH_BYTES + 9);
      const flags = payload[EPOCH_BYTES + 8];
      return {
        kind: "heartbeat-answer",
        epoch: readEpoch(payload, 0),
        round: readUint53(payload, EPOCH_BYTES),
        reachesAll: (flags & FLAG_REACHES_ALL) !== 0,
        isDraining: (flags & FLAG_DRAINING) !== 0,
      };
    }
    case FRAME.replicaForward:
      return { kind: "forward", commands: decodeForward(payload) };
    case FRAME.replicaFetched:
      return { kind: "fetched", entries: decodeFetched(payload) };
    case FRAME.replicaTalk:
      return readReplicaTalk(payload);
    default:
      throw new WireError(
        "invalid-message",
        `Cannot take frame of kind ${kind} from a node of the group`,
      );
  }
}

// Frequent messages: bytes

function newFrame(kind: number, payloadBytes: number): Uint8Array<ArrayBuffer> {
  const bytes = FRAME_HEADER_BYTES + payloadBytes;
  const frame = new Uint8Array(bytes);
  writeFrameHeader(frame, 0, { kind, bytes });
  return frame;
}

function checkLength(payload: Uint8Array, name: string, wanted: number): void {
  if (payload.length === wanted) return;
  throw new WireError(
    "invalid-message",
    `Cannot read ${name}: its length is ${payload.length} bytes, wanted ${wanted}`,
  );
}

/** Writes an epoch; returns the place after it. */
function writeEpoch(into: Uint8Array, at: number, epoch: Epoch): number {
  writeUint53(into, at, epoch.counter);
  writeUint32(into, at + 8, parseInt(epoch.store.slice(0, 8), 16));
  writeUint32(into, at + 12, parseInt(epoch.store.slice(8), 16));
  return at + EPOCH_BYTES;
}

function readEpoch(bytes: Uint8Array, at: number): Epoch {
  return {
    counter: readUint53(bytes, at),
    store: hex8(readUint32(bytes, at + 8)) + hex8(readUint32(bytes, at + 12)),
  };
}

function hex8(value: number): string {
  return value.toString(16).padStart(8, "0");
}

/** What one frame of a split message holds: entries `from` to before `to`. */
interface Part {
  readonly from: number;
  readonly to: number;
  /** The whole frame. */
  readonly bytes: number;
}

/** Cuts a run of items of these sizes so that each part fits a frame. */
function split(
  count: number,
  headBytes: number,
  sizeOf: (item: number, isFirst: boolean) => number,
): Part[] {
  const parts: Part[] = [];
  let from = 0;
  let bytes = FRAME_HEADER_BYTES + headBytes;
  for (let item = 0; item < count; item++) {
    let size = sizeOf(item, item === from);
    if (bytes + size > FRAME_BYTES_MAX) {
      parts.push({ from, to: item, bytes });
      from = item;
      bytes = FRAME_HEADER_BYTES + headBytes;
      size = sizeOf(item, true);
    }
    bytes += size;
  }
  parts.push({ from, to: count, bytes });
  return parts;
}

/** Cuts entries; `epoch` is that of an entry which names none in its frame. */
function splitEntries(
  entries: readonly LogEntry[],
  headBytes: number,
  epoch: Epoch | undefined,
): Part[] {
  return split(entries.length, headBytes, (item, isFirst) => {
    const entry = entries[item];
    const before = isFirst ? epoch : entries[item - 1].epoch;
    checkCommand(entry.command);
    return LENGTH_BYTES + entry.command.length +
      (isSame(before, entry.epoch) ? 0 : EPOCH_BYTES);
  });
}

function checkCommand(command: Uint8Array): void {
  if (command.length <= COMMAND_BYTES_MAX) return;
  throw new RangeError(
    `Cannot send command: it has ${command.length} bytes, limit is ${COMMAND_BYTES_MAX}`,
  );
}

function isSame(a: Epoch | undefined, b: Epoch): boolean {
  return a === b || (a !== undefined && isSameEpoch(a, b));
}

/** A frame for each part, after one another; `write` fills a frame behind its header. */
function encodeParts(
  kind: number,
  parts: readonly Part[],
  write: (frame: Uint8Array, part: Part) => void,
): Uint8Array<ArrayBuffer> {
  let bytes = 0;
  for (const part of parts) bytes += part.bytes;
  const frames = new Uint8Array(bytes);
  let at = 0;
  for (const part of parts) {
    const frame = frames.subarray(at, at + part.bytes);
    writeFrameHeader(frame, 0, { kind, bytes: part.bytes });
    write(frame, part);
    at += part.bytes;
  }
  return frames;
}

function encodeAppend(message: Append): Uint8Array<ArrayBuffer> {
  const { epoch, previous, commit, entries } = message;
  checkIndexes(entries, previous.index + 1);
  const parts = splitEntries(entries, APPEND_HEAD_BYTES, epoch);
  return encodeParts(FRAME.replicaAppend, parts, (frame, part) => {
    const before = part.from === 0 ? previous : entries[part.from - 1];
    let at = writeEpoch(frame, FRAME_HEADER_BYTES, epoch);
    writeUint53(frame, at, before.index);
    at = writeEpoch(frame, at + 8, before.epoch);
    writeUint53(frame, at, commit);
    writeEntries(frame, at + 8, { entries, part, epoch });
  });
}

function encodeFetched({ entries }: Fetched): Uint8Array<ArrayBuffer> {
  if (entries.length > 0) checkIndexes(entries, entries[0].index);
  const parts = splitEntries(entries, FETCHED_HEAD_BYTES, undefined);
  return encodeParts(FRAME.replicaFetched, parts, (frame, part) => {
    const at = FRAME_HEADER_BYTES;
    writeUint53(frame, at, entries[part.from]?.index ?? 0);
    writeEntries(frame, at + 8, { entries, part, epoch: undefined });
  });
}

function checkIndexes(entries: readonly LogEntry[], first: number): void {
  for (let i = 0; i < entries.length; i++) {
    if (entries[i].index === first + i) continue;
    throw new RangeError(
      `Cannot send entries: index ${entries[i].index} stands where ${
        first + i
      } belongs`,
    );
  }
}

/** Writes the number of entries and then these, up to the frame's end. */
function writeEntries(
  frame: Uint8Array,
  start: number,
  what: {
    entries: readonly LogEntry[];
    part: Part;
    epoch: Epoch | undefined;
  },
): void {
  const { entries, part } = what;
  writeUint32(frame, start, part.to - part.from);
  let at = start + 4;
  let before = what.epoch;
  for (let i = part.from; i < part.to; i++) {
    const { epoch, command } = entries[i];
    if (isSame(before, epoch)) {
      writeUint32(frame, at, command.length);
      at += LENGTH_BYTES;
    } else {
      writeUint32(frame, at, command.length + HAS_EPOCH);
      at = writeEpoch(frame, at + LENGTH_BYTES, epoch);
      before = epoch;
    }
    frame.set(command, at);
    at += command.length;
  }
}

function decodeAppend(payload: Uint8Array): ReplicaMessage {
  if (payload.length < APPEND_HEAD_BYTES) throw tooShort("append", payload);
  const epoch = readEpoch(payload, 0);
  const index = readUint53(payload, 16);
  const previousEpoch = readEpoch(payload, 24);
  const previous: LogPosition = {
    index,
    epoch: isSameEpoch(epoch, previousEpoch) ? epoch : previousEpoch,
  };
  const commit = readUint53(payload, 40);
  const entries = readEntries(payload, 48, { first: index + 1, epoch });
  checkEpochs(entries, { after: previous.epoch, upTo: epoch });
  return { kind: "append", epoch, previous, commit, entries };
}

function decodeFetched(payload: Uint8Array): LogEntry[] {
  if (payload.length < FETCHED_HEAD_BYTES) throw tooShort("entries", payload);
  const first = readUint53(payload, 0);
  const entries = readEntries(payload, 8, { first, epoch: undefined });
  checkEpochs(entries, { after: EPOCH_NONE, upTo: undefined });
  return entries;
}

/** No primary writes below the epoch of an entry before, nor above its own. */
function checkEpochs(
  entries: readonly LogEntry[],
  range: { after: Epoch; upTo: Epoch | undefined },
): void {
  let before = range.after;
  for (const { index, epoch } of entries) {
    // Entries of one epoch share one object.
    if (epoch === before) continue;
    if (compareEpochs(epoch, before) < 0) {
      throw wrongOrder(index, epoch, `behind epoch ${formatEpoch(before)}`);
    }
    before = epoch;
  }
  const { upTo } = range;
  const last = entries.at(-1);
  if (upTo === undefined || last === undefined) return;
  if (compareEpochs(last.epoch, upTo) <= 0) return;
  const where = `in an append of epoch ${formatEpoch(upTo)}`;
  throw wrongOrder(last.index, last.epoch, where);
}

function wrongOrder(index: number, epoch: Epoch, where: string): WireError {
  return new WireError(
    "invalid-message",
    `Cannot read entries: entry ${index} of epoch ${
      formatEpoch(epoch)
    } stands ${where}`,
  );
}

/** Reads entries, the first of them numbered `first`, up to the payload's end. */
function readEntries(
  payload: Uint8Array,
  start: number,
  from: { first: number; epoch: Epoch | undefined },
): LogEntry[] {
  const count = readUint32(payload, start);
  const block = blockOf(payload, start + 4, count);
  if (from.first + count > Number.MAX_SAFE_INTEGER) {
    throw new WireError(
      "invalid-message",
      `Cannot read entries: ${count} follow index ${from.first - 1}`,
    );
  }
  const entries = new Array<LogEntry>(count);
  let epoch = from.epoch;
  let at = 0;
  for (let i = 0; i < count; i++) {
    const head = at + LENGTH_BYTES <= block.length ? readUint32(block, at) : 0;
    const hasEpoch = head >= HAS_EPOCH;
    const bodyAt = at + LENGTH_BYTES + (hasEpoch ? EPOCH_BYTES : 0);
    const end = commandEnd(block, bodyAt, hasEpoch ? head - HAS_EPOCH : head);
    if (hasEpoch) epoch = readEpoch(block, at + LENGTH_BYTES);
    if (epoch === undefined) throw wrongLengths();
    const command = block.subarray(bodyAt, end);
    entries[i] = { index: from.first + i, epoch, command };
    at = end;
  }
  if (at !== block.length) throw wrongLengths();
  return entries;
}

/** A copy of what follows the count, if so many items may be in there. */
function blockOf(
  payload: Uint8Array,
  at: number,
  count: number,
): Uint8Array<ArrayBuffer> {
  if (count > (payload.length - at) / LENGTH_BYTES) throw wrongLengths();
  return new Uint8Array(payload.subarray(at));
}

function commandEnd(block: Uint8Array, at: number, bytes: number): number {
  if (bytes > COMMAND_BYTES_MAX) {
    throw new WireError(
      "too-large",
      `Cannot read command: its length is ${bytes} bytes, limit is ${COMMAND_BYTES_MAX}`,
    );
  }
  if (at + bytes > block.length) throw wrongLengths();
  return at + bytes;
}

function encodeForward(
  commands: readonly Uint8Array[],
): Uint8Array<ArrayBuffer> {
  const parts = split(commands.length, FORWARD_HEAD_BYTES, (item) => {
    checkCommand(commands[item]);
    return LENGTH_BYTES + commands[item].length;
  });
  return encodeParts(FRAME.replicaForward, parts, (frame, part) => {
    writeUint32(frame, FRAME_HEADER_BYTES, part.to - part.from);
    let at = FRAME_HEADER_BYTES + FORWARD_HEAD_BYTES;
    for (let i = part.from; i < part.to; i++) {
      writeUint32(frame, at, commands[i].length);
      frame.set(commands[i], at + LENGTH_BYTES);
      at += LENGTH_BYTES + commands[i].length;
    }
  });
}

function decodeForward(payload: Uint8Array): Uint8Array[] {
  if (payload.length < FORWARD_HEAD_BYTES) throw tooShort("commands", payload);
  const count = readUint32(payload, 0);
  const block = blockOf(payload, FORWARD_HEAD_BYTES, count);
  const commands = new Array<Uint8Array>(count);
  let at = 0;
  for (let i = 0; i < count; i++) {
    const bytes = at + LENGTH_BYTES <= block.length ? readUint32(block, at) : 0;
    const end = commandEnd(block, at + LENGTH_BYTES, bytes);
    commands[i] = block.subarray(at + LENGTH_BYTES, end);
    at = end;
  }
  if (at !== block.length) throw wrongLengths();
  return commands;
}

function tooShort(name: string, payload: Uint8Array): WireError {
  return new WireError(
    "invalid-message",
    `Cannot read ${name}: its length is ${payload.length} bytes, more are needed`,
  );
}

function wrongLengths(): WireError {
  return new WireError(
    "invalid-message",
    "Cannot read entries: their lengths do not add up",
  );
}

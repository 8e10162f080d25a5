/**
 * Writes to etcd: `KV.Put` of gRPC over HTTP/2, many at once on a connection.
 *
 * Of both protocols only what such a client needs: RFC 9113 (frames, windows),
 * RFC 7541 (fields by index after the first request), and the length prefix of
 * gRPC. Cheaper than any general client, so that etcd is measured, not that.
 */

import { LoadSocket } from "./load_socket.ts";
import { VALUE, type WriteEvents, type WriteLink } from "./write_link.ts";

const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD_BYTES = 9;
const GRPC_HEAD_BYTES = 5;

const DATA = 0;
const HEADERS = 1;
const RST_STREAM = 3;
const SETTINGS = 4;
const PING = 6;
const GOAWAY = 7;
const WINDOW_UPDATE = 8;

const END_STREAM = 1;
const END_HEADERS = 4;
const ACK = 1;

const WINDOW_BYTES_FIRST = 65_535;
/** Given once: some fifty million answers fit, more than any bench sees. */
const WINDOW_BYTES_MAX = 2 ** 31 - 1;

/** Names that HPACK has by number. */
const METHOD_POST = 0x83;
const SCHEME_HTTP = 0x86;
/** A field that is remembered under a new number: the name has number n. */
const remembered = (name: number) => 0x40 | name;
const PATH = 4;
const AUTHORITY = 1;
const CONTENT_TYPE = 31;
/** What the first request's fields are remembered as: the last one first. */
const FIELDS_AGAIN = [METHOD_POST, SCHEME_HTTP, 0xc1, 0xc0, 0xbf, 0xbe];

/** One connection; several clients may share it, as etcd's own benchmark does. */
export class EtcdLink implements WriteLink {
  readonly #socket: LoadSocket;
  readonly #events: WriteEvents;
  readonly #keys: string;
  readonly #frames: Uint8Array[] = [];
  readonly #ready = Promise.withResolvers<void>();
  /** Lanes of open streams; those that have got data are kept as -1 - lane. */
  readonly #lanes = new Map<number, number>();
  #nextStream = 1;
  #windowBytes = WINDOW_BYTES_FIRST;
  /** Writes that the server has no window for. */
  #held: number[] = [];

  private constructor(socket: LoadSocket, events: WriteEvents) {
    this.#socket = socket;
    this.#events = events;
    this.#keys = crypto.randomUUID().slice(0, 8);
  }

  /** Resolves when the server has spoken. */
  static async connect(port: number, events: WriteEvents): Promise<EtcdLink> {
    const socket = await LoadSocket.connect(port);
    const link = new EtcdLink(socket, events);
    void socket.read({
      receive: (bytes) => link.#receive(bytes),
      lost: (reason) => {
        link.#ready.reject(new Error(reason));
        events.lost(reason);
      },
    });
    socket.push(new TextEncoder().encode(PREFACE));
    socket.push(frame(SETTINGS, { stream: 0, body: [] }));
    const more = WINDOW_BYTES_MAX - WINDOW_BYTES_FIRST;
    socket.push(frame(WINDOW_UPDATE, { stream: 0, body: number32(more) }));
    socket.flush();
    await link.#ready.promise;
    return link;
  }

  write(lane: number): void {
    const request = this.#frames[lane] ??= putRequest(`${this.#keys}/${lane}`);
    const dataBytes = request.length - HEAD_BYTES;
    if (dataBytes > this.#windowBytes) {
      this.#held.push(lane);
      return;
    }
    this.#windowBytes -= dataBytes;
    const stream = this.#nextStream;
    this.#nextStream += 2;
    this.#lanes.set(stream, lane);
    const fields = stream === 1 ? firstFields() : FIELDS_AGAIN;
    const head = { stream, body: fields, flags: END_HEADERS };
    this.#socket.push(frame(HEADERS, head));
    const room = this.#socket.reserve(request.length);
    room.set(request);
    room.set(number32(stream), 5);
  }

  flush(): void {
    this.#socket.flush();
  }

  close(): void {
    this.#socket.close();
  }

  #receive(bytes: Uint8Array): number {
    let at = 0;
    while (bytes.length - at >= HEAD_BYTES) {
      const length = bytes[at] << 16 | bytes[at + 1] << 8 | bytes[at + 2];
      const next = at + HEAD_BYTES + length;
      if (next > bytes.length) return at;
      this.#take(bytes.subarray(at, next));
      at = next;
    }
    return at;
  }

  #take(bytes: Uint8Array): void {
    const type = bytes[3];
    const flags = bytes[4];
    const stream = read32(bytes, 5);
    switch (type) {
      case DATA: {
        const lane = this.#lanes.get(stream);
        if (lane !== undefined && lane >= 0) this.#lanes.set(stream, -1 - lane);
        return;
      }
      case HEADERS:
        if ((flags & END_STREAM) !== 0) {
          this.#end(stream, "refused in trailers");
        }
        return;
      case RST_STREAM:
        return this.#end(stream, `stream reset, ${read32(bytes, HEAD_BYTES)}`);
      case SETTINGS:
        if ((flags & ACK) !== 0) return;
        this.#socket.push(frame(SETTINGS, { stream: 0, body: [], flags: ACK }));
        return this.#ready.resolve();
      case PING: {
        if ((flags & ACK) !== 0) return;
        const body = bytes.subarray(HEAD_BYTES);
        return this.#socket.push(frame(PING, { stream: 0, body, flags: ACK }));
      }
      case WINDOW_UPDATE:
        if (stream === 0) this.#widen(read32(bytes, HEAD_BYTES));
        return;
      case GOAWAY:
        this.#socket.close();
        return this.#events.lost("The server sent GOAWAY");
    }
    // Others need not be known, RFC 9113 section 4.1.
  }

  /** An answer of gRPC with a message is a yes; without one it is an error. */
  #end(stream: number, reason: string): void {
    const lane = this.#lanes.get(stream);
    if (lane === undefined) return;
    this.#lanes.delete(stream);
    if (lane < 0) this.#events.acked(-1 - lane);
    else this.#events.refused(lane, reason);
  }

  #widen(bytes: number): void {
    this.#windowBytes += bytes;
    for (const lane of this.#held.splice(0)) this.write(lane);
  }
}

/** The data frame of `PutRequest{key, value}`; its stream is filled in later. */
function putRequest(key: string): Uint8Array {
  const keyBytes = new TextEncoder().encode(key);
  const message = [
    0x0a,
    keyBytes.length,
    ...keyBytes,
    0x12,
    ...varint(VALUE.length),
    ...VALUE,
  ];
  const body = [0, ...number32(message.length), ...message];
  if (body.length !== GRPC_HEAD_BYTES + message.length) throw new Error(key);
  return frame(DATA, { stream: 0, body, flags: END_STREAM });
}

function firstFields(): number[] {
  const text = (value: string) => {
    const bytes = new TextEncoder().encode(value);
    return [bytes.length, ...bytes];
  };
  return [
    METHOD_POST,
    SCHEME_HTTP,
    remembered(PATH),
    ...text("/etcdserverpb.KV/Put"),
    remembered(AUTHORITY),
    ...text("localhost"),
    remembered(CONTENT_TYPE),
    ...text("application/grpc"),
    remembered(0),
    ...text("te"),
    ...text("trailers"),
  ];
}

function frame(
  type: number,
  { stream, body, flags = 0 }: {
    readonly stream: number;
    readonly body: ArrayLike<number>;
    readonly flags?: number;
  },
): Uint8Array {
  const bytes = new Uint8Array(HEAD_BYTES + body.length);
  bytes.set([body.length >> 16, body.length >> 8, body.length, type, flags]);
  bytes.set(number32(stream), 5);
  bytes.set(body, HEAD_BYTES);
  return bytes;
}

function number32(value: number): number[] {
  return [value >>> 24, value >>> 16, value >>> 8, value].map((byte) =>
    byte & 0xff
  );
}

function read32(bytes: Uint8Array, at: number): number {
  return (bytes[at] & 0x7f) << 24 | bytes[at + 1] << 16 | bytes[at + 2] << 8 |
    bytes[at + 3];
}

/** A number as protobuf writes it. */
function varint(value: number): number[] {
  return value < 0x80
    ? [value]
    : [value & 0x7f | 0x80, ...varint(Math.floor(value / 0x80))];
}

/** A name server that knows what a test tells it. */

const TYPES = { A: 1, AAAA: 28, SRV: 33 } as const;
const NO_SUCH_NAME = 3;
const HEADER_BYTES = 12;

interface Question {
  readonly name: string;
  readonly type: number;
  /** As it came, to be repeated. */
  readonly bytes: Uint8Array;
}

/** Answers at port 53 of 127.0.0.1; RFC 1035 as far as it is needed. */
export class DnsServer implements Disposable {
  /** IPv4 addresses, by name. */
  readonly addresses = new Map<string, readonly string[]>();
  /** Target and port, by name. */
  readonly services = new Map<
    string,
    readonly { readonly target: string; readonly port: number }[]
  >();
  /** Kinds of questions that get no answer at all. */
  readonly unanswered = new Set<keyof typeof TYPES>();
  /** How late answers to questions for SRV come, in milliseconds. */
  srvLateMs = 0;
  /** What was asked: "A chat.lab". */
  readonly asked: string[] = [];
  readonly #late = new Set<ReturnType<typeof setTimeout>>();
  readonly #conn = Deno.listenDatagram({
    ...{ transport: "udp", hostname: "127.0.0.1", port: 53 },
  });

  constructor() {
    void this.#serve();
  }

  [Symbol.dispose](): void {
    this.#late.forEach(clearTimeout);
    this.#conn.close();
  }

  async #serve(): Promise<void> {
    const buffer = new Uint8Array(1_500);
    for (;;) {
      try {
        const [bytes, from] = await this.#conn.receive(buffer);
        const answer = this.#answer(bytes);
        if (answer === undefined) continue;
        const { type } = questionIn(bytes);
        if (type !== TYPES.SRV || this.srvLateMs === 0) {
          await this.#conn.send(answer, from);
          continue;
        }
        const timer = setTimeout(() => {
          this.#late.delete(timer);
          void this.#conn.send(answer, from);
        }, this.srvLateMs);
        this.#late.add(timer);
      } catch {
        return; // Closed.
      }
    }
  }

  #answer(bytes: Uint8Array): Uint8Array | undefined {
    const question = questionIn(bytes);
    const { name, type } = question;
    for (const kind of ["A", "AAAA", "SRV"] as const) {
      if (TYPES[kind] !== type) continue;
      this.asked.push(`${kind} ${name}`);
      if (this.unanswered.has(kind)) return undefined;
    }
    const records: number[][] = [];
    if (type === TYPES.A) {
      for (const address of this.addresses.get(name) ?? []) {
        records.push(recordOf(type, address.split(".").map(Number)));
      }
    }
    if (type === TYPES.SRV) {
      for (const { target, port } of this.services.get(name) ?? []) {
        const data = [0, 1, 0, 0, port >> 8, port & 255, ...labelsOf(target)];
        records.push(recordOf(type, data));
      }
    }
    const isKnown = this.addresses.has(name) || this.services.has(name);
    const head = [
      ...bytes.subarray(0, 2),
      ...[0x85, 0x80 | (isKnown ? 0 : NO_SUCH_NAME)],
      ...[0, 1, 0, records.length, 0, 0, 0, 0],
    ];
    return Uint8Array.from([...head, ...question.bytes, ...records.flat()]);
  }
}

function questionIn(bytes: Uint8Array): Question {
  const labels: string[] = [];
  let at = HEADER_BYTES;
  while (bytes[at] > 0) {
    const label = bytes.subarray(at + 1, at + 1 + bytes[at]);
    labels.push(new TextDecoder().decode(label));
    at += 1 + bytes[at];
  }
  return {
    name: labels.join(".").toLowerCase(),
    type: bytes[at + 1] * 256 + bytes[at + 2],
    bytes: bytes.slice(HEADER_BYTES, at + 5),
  };
}

/** Of the name that was asked for, to be forgotten at once. */
function recordOf(type: number, data: readonly number[]): number[] {
  return [0xc0, HEADER_BYTES, 0, type, 0, 1, 0, 0, 0, 0, 0, data.length]
    .concat(data);
}

function labelsOf(name: string): number[] {
  const labels = name.split(".").flatMap((label) => [
    label.length,
    ...new TextEncoder().encode(label),
  ]);
  return [...labels, 0];
}

/** Machines of their own on one wire: Linux network namespaces on a bridge. */

/** A hardware address that no machine has; locally administered. */
const NOBODY = "02:00:00:00:00:01";

/** One machine. */
export interface Machine {
  /** Its namespace. */
  readonly name: string;
  /** Its address, without the length of the prefix. */
  readonly host: string;
  /** What a command is run under to run there. */
  readonly under: readonly string[];
  /** The other end of its cable. */
  readonly plug: string;
}

/** A bridge and its machines; all are gone when it is disposed of. */
export class Network implements Disposable {
  readonly #tag = `skein${Deno.pid}x${Math.floor(Math.random() * 1e6)}`;
  readonly #names: string[] = [];
  /** Cables that are plugged into the other half of a wire that is divided. */
  readonly #apart: string[] = [];

  constructor() {
    try {
      const bridge = this.#namespace("wire");
      ip("-n", bridge, "link", "add", "br0", "type", "bridge");
      ip("-n", bridge, "link", "set", "br0", "up");
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Adds a machine with `address`, as in "10.211.0.1/24". */
  machine(name: string, address: string): Machine {
    const bridge = `${this.#tag}-wire`;
    const own = this.#namespace(name);
    ip(
      ...["-n", own, "link", "add", "eth0", "type", "veth"],
      ...["peer", "name", name, "netns", bridge],
    );
    ip("-n", bridge, "link", "set", "dev", name, "master", "br0", "up");
    ip("-n", own, "address", "add", address, "dev", "eth0");
    ip("-n", own, "link", "set", "eth0", "up");
    return {
      name: own,
      host: address.split("/")[0],
      under: ["ip", "netns", "exec", own],
      plug: name,
    };
  }

  /**
   * Connects this process's own machine too, with `address`, which must be in
   * nobody else's network.
   */
  join(address: string): void {
    this.#addLeg("br0", address);
  }

  /**
   * Divides the wire: these machines reach each other and nobody else. This
   * process goes on to reach all; by `address`, another one than in
   * {@linkcode join}, those who are set apart.
   */
  divide(apart: readonly Machine[], address: string): void {
    const bridge = `${this.#tag}-wire`;
    ip("-n", bridge, "link", "add", "br1", "type", "bridge");
    ip("-n", bridge, "link", "set", "br1", "up");
    const leg = this.#addLeg("br1", `${address.split("/")[0]}/32`);
    this.#apart.push(leg.plug, ...apart.map(({ plug }) => plug));
    for (const { plug, host } of apart) {
      ip("-n", bridge, "link", "set", "dev", plug, "master", "br1");
      ip("route", "add", `${host}/32`, "dev", leg.own);
    }
  }

  /** Ends {@linkcode divide}, for good. */
  unite(): void {
    // With this process's own way to them: what it is connected to stays so.
    ip("-n", `${this.#tag}-wire`, "link", "del", "br1");
    for (const plug of this.#apart.splice(0)) {
      ip(
        ...["-n", `${this.#tag}-wire`, "link", "set", "dev", plug],
        ...["master", "br0"],
      );
    }
  }

  /** Lets what one machine sends to another one be lost, and nothing else. */
  lose(from: Machine, to: Machine): void {
    ip(
      ...["-n", from.name, "neigh", "replace", to.host, "dev", "eth0"],
      ...["lladdr", NOBODY, "nud", "permanent"],
    );
  }

  /** Ends {@linkcode lose}. */
  find(from: Machine, to: Machine): void {
    ip("-n", from.name, "neigh", "del", to.host, "dev", "eth0");
  }

  /** Pulls a machine's plug: nobody is told, packets just stop. */
  cut(name: string): void {
    ip("-n", `${this.#tag}-wire`, "link", "set", "dev", name, "down");
  }

  /** Plugs it in again. */
  mend(name: string): void {
    ip("-n", `${this.#tag}-wire`, "link", "set", "dev", name, "up");
  }

  [Symbol.dispose](): void {
    for (const name of this.#names.splice(0)) ip("netns", "delete", name);
  }

  #addLeg(
    bridge: "br0" | "br1",
    address: string,
  ): { readonly own: string; readonly plug: string } {
    const wire = `${this.#tag}-wire`;
    const plug = `test-${bridge}`;
    // 15 characters are what the name of an interface may have.
    const own = `sk${Math.floor(Math.random() * 1e12).toString(36)}`;
    ip(
      ...["link", "add", own, "type", "veth"],
      ...["peer", "name", plug, "netns", wire],
    );
    // It goes when its other end does, with the bridge.
    ip("-n", wire, "link", "set", "dev", plug, "master", bridge, "up");
    ip("address", "add", address, "dev", own);
    ip("link", "set", own, "up");
    return { own, plug };
  }

  #namespace(name: string): string {
    const own = `${this.#tag}-${name}`;
    ip("netns", "add", own);
    this.#names.push(own);
    ip("-n", own, "link", "set", "lo", "up");
    return own;
  }
}

/** The first three numbers of a network that no other test on this machine is in. */
export function freeSubnet(): string {
  for (;;) {
    const [high, low] = crypto.getRandomValues(new Uint8Array(2));
    const subnet = `10.${200 + high % 50}.${low}`;
    const isTaken = Deno.networkInterfaces().some(({ address }) =>
      address.startsWith(`${subnet}.`)
    );
    if (!isTaken) return subnet;
  }
}

/** Why there can be no {@linkcode Network} here; undefined when there can. */
export function networkMissing(): string | undefined {
  if (Deno.build.os !== "linux") return "not on Linux";
  if (Deno.uid() !== 0) return "not root";
  try {
    using network = new Network();
    network.machine("probe", "10.211.255.1/24");
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function ip(...args: string[]): void {
  const { success, stderr } = new Deno.Command("ip", {
    args,
    stdin: "null",
    stdout: "null",
  }).outputSync();
  if (success) return;
  const text = new TextDecoder().decode(stderr).trim();
  throw new Error(`Cannot "ip ${args.join(" ")}": ${text}`);
}

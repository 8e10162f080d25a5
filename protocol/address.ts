/** Addresses of nodes: `HOST:PORT`, and which of them are private. */

/** Where to dial or listen. IPv6 hosts are kept without brackets. */
export interface Address {
  readonly host: string;
  /** 0 to 65,535; 0 lets the system choose, for listening only. */
  readonly port: number;
}

const PORT_MAX = 65_535;
const HOST_CHARACTERS_MAX = 253; // RFC 1035, section 2.3.4

/**
 * Reads `[HOST:]PORT`; an IPv6 host stands in brackets.
 *
 * @param defaultHost The host of a bare port; without it a host is required.
 * @throws {RangeError} Says what was found and what was wanted.
 */
export function parseAddress(text: string, defaultHost?: string): Address {
  const match = /^(?:(?:\[([^\]\s]+)\]|([^:\s[\]]+)):)?(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2] ?? defaultHost;
  const port = Number(match?.[3]);
  if (match === null || host === undefined) {
    const wanted = defaultHost === undefined ? "HOST:PORT" : "[HOST:]PORT";
    throw new RangeError(`"${text}" is not an address, wanted ${wanted}`);
  }
  if (port > PORT_MAX) {
    throw new RangeError(`Port ${port} in "${text}" is above ${PORT_MAX}`);
  }
  if (host.length > HOST_CHARACTERS_MAX) {
    throw new RangeError(
      `Host in "${
        text.slice(0, 40)
      }…" has ${host.length} characters, limit is ${HOST_CHARACTERS_MAX}`,
    );
  }
  return { host, port };
}

/** `HOST:PORT`, with brackets around an IPv6 host. */
export function formatAddress(address: Address): string {
  return address.host.includes(":")
    ? `[${address.host}]:${address.port}`
    : `${address.host}:${address.port}`;
}

/**
 * Whether an IP address is loopback, link-local or private: whom a node
 * without a cluster key talks to. Names are not looked up: a name is not
 * private.
 *
 * @see RFC 1918, RFC 3927, RFC 4193, RFC 4291 section 2.5
 */
export function isPrivateAddress(ip: string): boolean {
  const mapped = /^(?:0{0,4}:){2,5}ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(ip);
  const v4 = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(
    mapped?.[1] ?? ip,
  );
  if (v4 !== null) {
    const [a, b] = [Number(v4[1]), Number(v4[2])];
    return a === 127 || a === 10 || (a === 172 && b >= 16 && b <= 31) ||
      (a === 192 && b === 168) || (a === 169 && b === 254);
  }
  const v6 = ip.toLowerCase().split("%")[0];
  return v6 === "::1" || /^fe[89ab][0-9a-f]:/.test(v6) ||
    /^f[cd][0-9a-f]{2}:/.test(v6);
}

/** Whether a host stands for all addresses of a machine, to listen at. */
export function isWildcardHost(host: string): boolean {
  return host === "0.0.0.0" || host === "::";
}

/** Whether an IP address is of this machine alone. */
export function isLoopbackAddress(ip: string): boolean {
  return /^(?:::ffff:)?127\.\d+\.\d+\.\d+$/i.test(ip) || ip === "::1";
}

/** Which finder asks where. */

import { AddressFinder } from "./address_finder.ts";
import { DnsNames } from "./dns_names.ts";
import type { Finder, FinderOptions } from "./finder.ts";
import { UdpFinder } from "./udp_finder.ts";

/** Opens a finder; what is not there yet, an interface or a name, may come later. */
export function openFinder(options: FinderOptions): Finder {
  const { where, log } = options;
  switch (where.kind) {
    case "static":
      return new AddressFinder(options, {
        via: "static",
        list: () => Promise.resolve(where.addresses),
      });
    case "dns": {
      const names = new DnsNames({ name: where.name, port: where.port, log });
      return new AddressFinder(options, {
        via: `dns ${where.name}`,
        list: () => names.list(),
      });
    }
    case "udp":
      return new UdpFinder(options, where);
  }
}

import { assertEquals, assertLess, assertMatch } from "@std/assert";
import { until } from "../../../process/until.ts";
import { namespaceTests } from "../../../namespace.ts";
import { AnsweringDoor } from "./answering_door.ts";
import { DnsServer } from "./dns_server.ts";
import { OpenFinder } from "./lan.ts";

const PORT = 8081;

function door(host: string, port = PORT): AnsweringDoor {
  return new AnsweringDoor({ advert: { id: host }, listen: { host, port } });
}

function finderOf(name: string): OpenFinder {
  return new OpenFinder({ where: { kind: "dns", name, port: PORT } });
}

/** The system's resolver cannot be called off: a lookup may outlive its test. */
function dnsTest(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: false, sanitizeResources: false });
}

namespaceTests({
  file: import.meta.url,
  resolvConf: "nameserver 127.0.0.1\nsearch lab\n",
  hosts: "127.0.0.1 localhost\n127.0.0.9 in-hosts\n",
}, () => {
  dnsTest("dns: every address of a name is asked", async () => {
    using server = new DnsServer();
    server.addresses.set("chat.lab", ["127.0.0.2", "127.0.0.3"]);
    using _two = door("127.0.0.2");
    using _three = door("127.0.0.3");
    using asking = finderOf("chat.lab");
    asking.finder.ask();
    await until("both", () => asking.names.length === 2);
    const [two] = asking.sightings
      .filter(({ advert }) => advert.id === "127.0.0.2");
    assertEquals(two.peers, { host: "127.0.0.2", port: 8081 });
    assertEquals(two.via, "dns chat.lab 127.0.0.2:8081");
  });

  dnsTest(
    "dns: a name that comes later is found then, and was said once to be missing",
    async () => {
      using server = new DnsServer();
      using _two = door("127.0.0.2");
      using asking = finderOf("later.lab");
      await asking.asking("three times", () => {
        const asked = server.asked.filter((what) => what === "A later.lab");
        return asked.length >= 3;
      });
      server.addresses.set("later.lab", ["127.0.0.2"]);
      await asking.asking("it", () => asking.names.length === 1);
      const [{ message, fields }, ...more] = asking.log.lines;
      assertEquals([message, more], ['"later.lab" does not resolve yet', []]);
      assertMatch(String(fields.reason), /ENOTFOUND|EAI_AGAIN/);
      // And when it goes away again.
      server.addresses.delete("later.lab");
      await asking.asking("nothing", () => asking.log.lines.length === 2);
    },
  );

  dnsTest(
    "dns: where a name has SRV records, their hosts and ports count",
    async () => {
      using server = new DnsServer();
      server.addresses.set("chat.lab", ["127.0.0.2"]);
      server.addresses.set("pod-1.lab", ["127.0.0.4"]);
      server.addresses.set("pod-2.lab", ["127.0.0.5"]);
      server.services.set("_skein._tcp.chat.lab", [
        { target: "pod-1.lab", port: 9_001 },
        { target: "pod-2.lab", port: 9_002 },
        { target: "pod-3.lab", port: 9_003 },
      ]);
      using _plain = door("127.0.0.2");
      using _one = door("127.0.0.4", 9_001);
      using _two = door("127.0.0.5", 9_002);
      using asking = finderOf("chat.lab");
      await asking.asking("both", () => asking.names.length === 2);
      assertEquals(asking.names, ["127.0.0.4", "127.0.0.5"]);
    },
  );

  dnsTest("dns: search domains and the hosts file count", async () => {
    using server = new DnsServer();
    server.addresses.set("chat.lab", ["127.0.0.2"]);
    using _two = door("127.0.0.2");
    using _nine = door("127.0.0.9");
    using searching = finderOf("chat");
    await searching.asking("it", () => searching.names.length === 1);
    using local = finderOf("in-hosts");
    await local.asking("it", () => local.names.length === 1);
    assertEquals([searching.names, local.names], [["127.0.0.2"], [
      "127.0.0.9",
    ]]);
  });

  dnsTest(
    "dns: a server that drops questions for SRV holds up nobody for long, and only once",
    async () => {
      using server = new DnsServer();
      server.addresses.set("chat.lab", ["127.0.0.2"]);
      server.unanswered.add("SRV");
      using _two = door("127.0.0.2");
      using asking = finderOf("chat.lab");
      const firstMs = performance.now();
      await asking.asking("it", () => asking.sightings.length >= 1);
      // The question for SRV is given up after 1 s.
      assertLess(performance.now() - firstMs, 900);
      await asking.asking("four times", () => asking.sightings.length >= 4);
      const startMs = performance.now();
      await asking.asking("again", () => asking.sightings.length >= 8);
      assertLess(performance.now() - startMs, 900);
    },
  );

  dnsTest(
    "dns: SRV records that come late count from then on",
    async () => {
      using server = new DnsServer();
      server.addresses.set("chat.lab", ["127.0.0.2"]);
      server.addresses.set("pod-1.lab", ["127.0.0.4"]);
      server.services.set("_skein._tcp.chat.lab", [
        { target: "pod-1.lab", port: 9_001 },
      ]);
      server.srvLateMs = 500;
      using _plain = door("127.0.0.2");
      using _one = door("127.0.0.4", 9_001);
      using asking = finderOf("chat.lab");
      await asking.asking("both", () => asking.names.length === 2);
      assertEquals(asking.sightings[0].advert.id, "127.0.0.2");
      assertEquals(asking.names, ["127.0.0.2", "127.0.0.4"]);
      // The records of the last time hold while new ones are looked for.
      const count = asking.sightings.length;
      await asking.asking("more", () => asking.sightings.length > count + 2);
      const names = asking.sightings.slice(count).map(({ advert }) =>
        advert.id
      );
      assertEquals(new Set(names), new Set(["127.0.0.4"]));
    },
  );

  dnsTest(
    "dns: without a server what the hosts file says is found",
    async () => {
      using _nine = door("127.0.0.9");
      using asking = finderOf("in-hosts");
      await asking.asking("it", () => asking.names.length === 1);
      using lost = finderOf("chat.lab");
      await lost.asking("it is said", () => lost.log.lines.length === 1);
      assertEquals(lost.sightings, []);
    },
  );
});

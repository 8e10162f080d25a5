import { assertEquals, assertMatch } from "@std/assert";
import { takenPorts } from "../../deploy/ports.ts";
import { PortBlock } from "./port_block.ts";

/** Listens on a port of its choice, says which, and waits to be killed. */
const HOLDER = `
const listener = Deno.listen({ hostname: Deno.args[0], port: 0 });
console.log(listener.addr.port);
await listener.accept();
`;

for (const host of ["127.0.0.1", "0.0.0.0", "::"]) {
  Deno.test({
    name: `ports: a listener on ${host} is found with its process`,
    ignore: Deno.build.os !== "linux" || (host === "::" && !hasIpv6()),
    async fn() {
      const holder = new Deno.Command(Deno.execPath(), {
        args: ["eval", "--no-config", HOLDER, host],
        stdout: "piped",
      }).spawn();
      try {
        const port = await firstNumber(holder.stdout);
        const [taken, ...others] = takenPorts([{ host: "127.0.0.1", port }]);
        assertEquals(others, []);
        assertEquals(taken.address.port, port);
        assertEquals(taken.holders.map(({ pid }) => pid), [holder.pid]);
        assertMatch(
          taken.holders[0].command,
          /^deno eval --no-config \\nconst/,
        );
      } finally {
        holder.kill("SIGKILL");
        await holder.status;
      }
    },
  });
}

Deno.test("ports: free ones are not named", () => {
  using ports = PortBlock.reserve();
  const addresses = [0, 1, 2].map((index) => ({
    host: "127.0.0.1",
    port: ports.base + index,
  }));
  assertEquals(takenPorts(addresses), []);
});

function hasIpv6(): boolean {
  try {
    Deno.listen({ hostname: "::", port: 0 }).close();
    return true;
  } catch {
    return false;
  }
}

async function firstNumber(
  stream: ReadableStream<Uint8Array>,
): Promise<number> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    text += decoder.decode(chunk, { stream: true });
    if (text.includes("\n")) break; // leaving the loop closes the stream
  }
  return Number(text.trim());
}

/** A node whose group ends at once, and whose end is then waited for until it is told to stop. */

import { runGroupNode } from "../../../../nodes/chat/group/group_process.ts";
import { parseWitnessFlags } from "../../../../nodes/witness/flags.ts";

const told = Promise.withResolvers<void>();
Deno.addSignalListener("SIGTERM", () => told.resolve());

await runGroupNode(parseWitnessFlags(Deno.args, Deno.env), ({ onEnded }) => {
  console.log("begins");
  queueMicrotask(onEnded);
  return Promise.resolve({
    stop: async () => await Promise.resolve(console.log("is stopped")),
    close: async () => {
      console.log("ends");
      await told.promise;
    },
  });
});

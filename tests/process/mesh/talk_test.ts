import { assertThrows } from "@std/assert";
import type { Person } from "./person.ts";
import { checkHeard } from "./talk.ts";

Deno.test("mesh talk: what is lost, repeated or reordered is noticed", () => {
  const check = (...texts: string[]) =>
    checkHeard({ address: "x", texts } as Person, {
      ...{ name: "Dana", from: 1, to: 3 },
    });
  check("Dana 1", "Noor 1", "Dana 2", "Dana 3");
  for (
    const wrong of [
      ["Dana 1", "Dana 3"],
      ["Dana 1", "Dana 2"],
      ["Dana 1", "Dana 2", "Dana 2", "Dana 3"],
      ["Dana 2", "Dana 1", "Dana 3"],
      ["Dana 1", "Dana 2", "Dana 3", "Dana 3"],
    ]
  ) assertThrows(() => check(...wrong), Error, "At x");
});

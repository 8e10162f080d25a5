import { assertEquals, assertThrows } from "@std/assert";
import { FrameLink } from "../../../../nodes/host/frame_link.ts";
import { Link } from "../../../../nodes/host/link.ts";
import {
  checkStranger,
  isKept,
  type Joined,
} from "../../../../nodes/chat/links/peer_checks.ts";
import { WireError } from "../../../../protocol/errors.ts";
import type { Identity } from "../../../../protocol/handshake.ts";
import type { NodeKind } from "../../../../protocol/view.ts";
import { connectEnds, type Ends } from "../../host/loopback.ts";
import { helloOf, identityOf, storeOf } from "./peer_node.ts";

function joinedAs(ends: Ends, peer: Identity, isDialed: boolean): Joined {
  const link = new FrameLink({
    link: new Link(ends.dialed, { silentMsMax: undefined }),
    peer,
    rest: new Uint8Array(0),
  });
  return { link, peer, hello: helloOf(storeOf("b")), isDialed };
}

Deno.test("peer checks: two nodes with two links between them keep the same one", async () => {
  using ends = await connectEnds();
  const [low, high] = [identityOf("server-1"), identityOf("server-2")];
  for (const isOfLow of [true, false]) {
    // The link that comes second was dialed by the other one.
    const atLow = isKept(joinedAs(ends, high, isOfLow), {
      next: joinedAs(ends, high, !isOfLow),
      self: low,
    });
    const atHigh = isKept(joinedAs(ends, low, !isOfLow), {
      next: joinedAs(ends, low, isOfLow),
      self: high,
    });
    assertEquals([atLow, atHigh], [isOfLow, isOfLow]);
  }
});

Deno.test("peer checks: of two links by one side the newer one stays, and so does a new process", async () => {
  using ends = await connectEnds();
  const [low, high] = [identityOf("server-1"), identityOf("server-2")];
  for (const isDialed of [true, false]) {
    const before = joinedAs(ends, high, isDialed);
    const again = { next: joinedAs(ends, high, isDialed), self: low };
    assertEquals(isKept(before, again), false);
    const restarted = joinedAs(ends, identityOf("server-2"), false);
    assertEquals(isKept(before, { next: restarted, self: low }), false);
  }
});

Deno.test("peer checks: who contradicts itself, this node or its list is refused", () => {
  const own = {
    self: identityOf("server-1"),
    store: storeOf("a"),
    group: undefined,
    kind: undefined,
  };
  const server = { peer: identityOf("server-2"), hello: helloOf(storeOf("b")) };
  const witness = {
    peer: identityOf("witness-1", "witness"),
    hello: { ...helloOf(storeOf("c")), kind: "witness" as const },
  };
  checkStranger(server, own);
  checkStranger(witness, own);
  checkStranger(server, { ...own, kind: "server" });
  checkStranger(witness, { ...own, kind: "witness" });
  const wrong: [
    typeof server | typeof witness,
    NodeKind | undefined,
    string,
  ][] = [
    [{ ...server, peer: identityOf("server-1") }, undefined, "is this node's"],
    [{ ...server, hello: helloOf(storeOf("a")) }, undefined, "is a copy"],
    [server, "witness", "wanted a witness"],
    [witness, "server", "wanted a server"],
    [{ ...server, hello: witness.hello }, undefined, 'in the role "chat"'],
    [{ ...witness, hello: server.hello }, undefined, 'in the role "witness"'],
  ];
  for (const [next, kind, text] of wrong) {
    assertThrows(() => checkStranger(next, { ...own, kind }), WireError, text);
  }
});

Deno.test("peer checks: nodes of two groups do not mix; one without a group joins any", () => {
  const peer = identityOf("server-2");
  const own = { self: identityOf("server-1"), store: storeOf("a") };
  const groups = [undefined, storeOf("1"), storeOf("2")];
  for (const group of groups) {
    for (const theirs of groups) {
      const hello = { ...helloOf(storeOf("b")), group: theirs };
      const check = () =>
        checkStranger({ peer, hello }, { ...own, group, kind: undefined });
      if (group === undefined || theirs === undefined || group === theirs) {
        check();
      } else {
        const error = assertThrows(check, WireError, "belongs to group");
        assertEquals(error.code, "other-group");
      }
    }
  }
});

import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  parsePeers,
  PEERS_FILE_BYTES_MAX,
  readPeersFile,
} from "../../../nodes/mesh/peers_file.ts";
import { MESH_SERVERS_MAX } from "../../../protocol/mesh_peer.ts";

const B = { id: "B", address: { host: "127.0.0.1", port: 5002 } };
const C = { id: "C", address: { host: "lab3.example", port: 5003 } };

Deno.test("peers file: all forms say the same", () => {
  const forms = [
    '[{"id":"B","host":"127.0.0.1","port":5002},{"id":"C","host":"lab3.example","port":5003}]',
    '[{"name":"B","ip":"127.0.0.1","port":"5002"},{"server_id":"C","address":"lab3.example","port":5003}]',
    '{"B":["127.0.0.1",5002],"C":["lab3.example",5003]}',
    '{"B":"127.0.0.1:5002","C":"lab3.example:5003"}',
    '{"B":{"host":"127.0.0.1","port":5002},"C":{"ip":"lab3.example","port":5003}}',
    '{"peers":[{"id":"B","host":"127.0.0.1","port":5002},{"server":"C","host":"lab3.example","port":5003}]}',
    '{"peers":{"B":["127.0.0.1",5002],"C":"lab3.example:5003"}}',
    ' {"B":"127.0.0.1:5002",\r\n"C":{"host":"lab3.example","port":5003,"comment":"far"}}\n',
  ];
  for (const text of forms) assertEquals(parsePeers(text), [B, C], text);
});

Deno.test("peers file: hosts by IPv6, and lists without anybody", () => {
  const address = { host: "::1", port: 5002 };
  for (
    const text of [
      '{"B":["::1",5002]}',
      '{"B":["[::1]",5002]}',
      '{"B":"[::1]:5002"}',
    ]
  ) assertEquals(parsePeers(text), [{ id: "B", address }], text);
  for (const text of ["[]", "{}", '{"peers":[]}']) {
    assertEquals(parsePeers(text), []);
  }
});

Deno.test("peers file: what is wrong is said with its place", () => {
  const cases: readonly (readonly [string, string])[] = [
    ["", "it is not JSON"],
    ["[{]", "it is not JSON"],
    ['{"B":"127.0.0.1:5002"', "it is not JSON"],
    ["5", "found 5, wanted [{"],
    ["null", "found null, wanted [{"],
    ['["B"]', '[0]: found "B", wanted {"id":'],
    ['[{"host":"h","port":1}]', "[0].id: found nothing, wanted a name"],
    ['[{"id":"B","port":1}]', "[0].host: found nothing, wanted a host"],
    ['[{"id":"B","host":"h"}]', "[0].port: found nothing, wanted a port"],
    [
      '[{"id":"A","host":"h","port":1},{"id":"B","host":"h","port":70000}]',
      "[1].port: found 70000, wanted a port from 1 to 65535",
    ],
    ['{"peers":[{"id":"B","host":"h","port":0}]}', "peers[0].port: found 0"],
    ['{"B":["h"]}', '"B": found ["h"], wanted ["127.0.0.1",5002]'],
    ['{"B":[5002,"h"]}', '"B"[0]: found 5002, wanted a host'],
    ['{"B":"h"}', '"B": found "h", wanted an address'],
    ['{"B":"h:0"}', '"B": found "h:0", wanted an address'],
    ['{"B":["a b",1]}', '"B"[0]: found "a b:1", wanted an address'],
    ['{"B":7}', '"B": found 7, wanted [{'],
    ['{"a b":"h:1"}', '"a b": found "a b", wanted a name'],
    ['[{"id":7,"host":"h","port":1}]', "[0].id: found 7, wanted a name"],
    ['[{"id":"B","host":"h","port":1.5}]', "[0].port: found 1.5"],
    [
      '[{"id":"B","host":"h","port":1},{"id":"B","host":"i","port":1}]',
      '"B" is there twice',
    ],
    [`{"B":"${"x".repeat(300)}"}`, "x…, wanted an address"],
  ];
  for (const [text, reason] of cases) {
    const error = assertThrows(() => parsePeers(text), RangeError);
    assertStringIncludes(error.message, reason, text);
  }
});

Deno.test("peers file: as many servers as a mesh may have, and no more", () => {
  const list = (count: number) =>
    JSON.stringify(Object.fromEntries(
      Array.from({ length: count }, (_, at) => [`s${at}`, `h:${at + 1}`]),
    ));
  assertEquals(parsePeers(list(MESH_SERVERS_MAX)).length, MESH_SERVERS_MAX);
  const error = assertThrows(
    () => parsePeers(list(MESH_SERVERS_MAX + 1)),
    RangeError,
  );
  assertStringIncludes(error.message, `limit is ${MESH_SERVERS_MAX}`);
});

Deno.test("peers file: no text makes it throw anything but RangeError", () => {
  const check = (text: string) => {
    try {
      parsePeers(text);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
  };
  fc.assert(fc.property(fc.string(), check));
  fc.assert(fc.property(fc.json(), check));
});

Deno.test("peers file: the file's name stands before what is wrong with it", () => {
  const folder = Deno.makeTempDirSync();
  try {
    const path = `${folder}/peersA.json`;
    Deno.writeTextFileSync(path, '{"B":"127.0.0.1:5002"}');
    assertEquals(readPeersFile(path), [B]);
    const refused = (bytes: Uint8Array, reason: string) => {
      Deno.writeFileSync(path, bytes);
      const error = assertThrows(() => readPeersFile(path), RangeError);
      assertStringIncludes(error.message, `"${path}": ${reason}`);
    };
    refused(new TextEncoder().encode("["), "it is not JSON");
    refused(Uint8Array.of(0x22, 0xff, 0x22), "it is not text in UTF-8");
    refused(
      new Uint8Array(PEERS_FILE_BYTES_MAX + 1).fill(0x20),
      `it is larger than ${PEERS_FILE_BYTES_MAX} bytes`,
    );
    const missing = `${folder}/none.json`;
    const error = assertThrows(() => readPeersFile(missing), RangeError);
    assertStringIncludes(error.message, `"${missing}": there is no such file`);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

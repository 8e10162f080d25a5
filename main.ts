/** Maps a role's name to its node, and `client` to what people type. */

const [role, ...args] = Deno.args;

switch (role) {
  case "chain":
    await (await import("./nodes/chain/node.ts")).main(args);
    break;
  case "chat":
    await (await import("./nodes/chat/node.ts")).main(args);
    break;
  case "witness":
    await (await import("./nodes/witness/node.ts")).main(args);
    break;
  case "mesh":
    await (await import("./nodes/mesh/node.ts")).main(args);
    break;
  case "client":
    await (await import("./clients/client.ts")).main(args);
    break;
  default:
    console.error(
      `skein: ${
        role === undefined ? "a role is missing" : `"${role}" is no role`
      }; wanted: chain, chat, witness, mesh, client`,
    );
    Deno.exit(2);
}

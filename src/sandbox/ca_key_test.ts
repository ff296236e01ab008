import assert from "node:assert/strict";
import { join } from "node:path";
import { Refusal } from "../base/errors.ts";
import { guardCaKey } from "./ca_key.ts";
import { type Grants, noGrants } from "./grants.ts";

Deno.test("nothing that dials or listens may be granted the CA's key, by whatever path", async () => {
  const root = await Deno.realPath(await Deno.makeTempDir({ prefix: "agent-ca-key-" }));
  try {
    const key = join(root, "tls", "ca", "ca.key");
    await Deno.mkdir(join(root, "tls", "ca"), { recursive: true });
    await Deno.mkdir(join(root, "data"));
    await Deno.writeTextFile(key, "");
    await Deno.symlink(join(root, "tls"), join(root, "link"));
    const check = (grants: Partial<Grants>) =>
      guardCaKey({ ...noGrants, net: ["127.0.0.1:1"], ...grants }, () => Promise.resolve(key));
    const refused = [
      key,
      join(root, "tls", "ca"),
      join(root, "tls"),
      join(root, "tls") + "/",
      root,
      "/",
      join(root, "link"),
      join(root, "link", "ca", "ca.key"),
    ];
    for (const path of refused) {
      await assert.rejects(check({ read: [path] }), Refusal, `read ${path}`);
      await assert.rejects(check({ write: [path] }), Refusal, `write ${path}`);
    }
    for (const path of ["data", "tls/server.key", "tls/ca/ca.crt", "tls/ca/ca.key2", "missing"]) {
      await check({ read: [join(root, path)], write: [join(root, path)] });
    }
    await check({ read: [root], net: [] });
    // config.yaml may name a link to the key, as on a medium that is mounted when it is needed.
    const medium = join(root, "medium");
    await Deno.mkdir(medium);
    await Deno.rename(key, join(medium, "secret"));
    await Deno.symlink(join(medium, "secret"), key);
    for (const path of [medium, join(medium, "secret"), key, join(root, "tls")]) {
      await assert.rejects(check({ read: [path] }), Refusal, `read ${path}`);
      await assert.rejects(check({ write: [path] }), Refusal, `write ${path}`);
    }
    await assert.rejects(check({ read: [root], net: true }), Refusal);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});

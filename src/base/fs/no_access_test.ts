import assert from "node:assert/strict";
import { join } from "node:path";
import { whyNoAccess } from "./no_access.ts";

Deno.test("a refused path is explained by its mount, or by the owner of the nearest folder", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const owner = Deno.statSync(folder).uid!;
    const refused = new Deno.errors.PermissionDenied("Permission denied (os error 13)");
    const below = join(folder, "a/b");
    assert.deepEqual(whyNoAccess(below, refused, owner + 1), { cause: "owner", folder, owner });
    // Its own folder: a mode, or another rule of the system.
    assert.deepEqual(whyNoAccess(below, refused, owner), { cause: "other" });
    const readOnly = new Error("Read-only file system (os error 30)");
    assert.deepEqual(whyNoAccess(below, readOnly, owner + 1), { cause: "read_only" });
    assert.deepEqual(whyNoAccess(below, new Error("No space left"), owner + 1), { cause: "other" });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

import assert from "node:assert/strict";
import { join } from "node:path";
import { UserError } from "../errors.ts";
import { makeDataDirectory } from "./data_directory.ts";

Deno.test("a data folder is made, or taken if it is empty or one's own, and nothing else is touched", async () => {
  const root = await Deno.makeTempDir();
  try {
    const own = (path: string) =>
      makeDataDirectory({ path, sign: "mark", mode: 0o700, setting: "worker.data_dir" });
    const mode = (path: string) => (Deno.statSync(path).mode ?? 0) & 0o777;
    own(join(root, "a/b"));
    assert.equal(mode(join(root, "a/b")), 0o700);

    const empty = join(root, "empty");
    await Deno.mkdir(join(empty, "lost+found"), { recursive: true });
    await Deno.chmod(empty, 0o755);
    own(empty);
    assert.equal(mode(empty), 0o700);

    await Deno.writeTextFile(join(empty, "mark"), "");
    await Deno.writeTextFile(join(empty, "other"), "");
    own(empty);

    const foreign = join(root, "foreign");
    await Deno.mkdir(foreign);
    await Deno.writeTextFile(join(foreign, "mail"), "");
    await Deno.chmod(foreign, 0o755);
    assert.throws(
      () => own(foreign),
      (error) =>
        error instanceof UserError && /holds other things, such as "mail"/.test(error.message),
    );
    assert.equal(mode(foreign), 0o755);
    assert.throws(() => own(join(foreign, "mail")), UserError);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});

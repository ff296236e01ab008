/** What a store calls kept is on the disk by then, by the system calls of a process that stores. */
import assert from "node:assert/strict";
import { basename, dirname, join } from "node:path";
import { component, programs } from "../support/component.ts";
import { temporaryFolder } from "../support/temporary.ts";

Deno.test({
  name: "a log, an artifact, a result and a commit are synced before they are called kept",
  ...await component("strace", programs("strace")),
  async fn() {
    await using folder = await temporaryFolder();
    const path = await Deno.realPath(folder.path);
    const trace = join(path, "trace");
    const victim = new URL("../support/sync_victim.ts", import.meta.url).pathname;
    const calls = "fsync,fdatasync,rename,renameat,renameat2,write,writev";
    const { success, stderr } = await new Deno.Command("strace", {
      args: ["-f", "-y", "-e", `trace=${calls}`, "-o", trace, Deno.execPath()].concat(
        ["run", "-A", "--no-prompt", "--no-check", victim, path],
      ),
    }).output();
    assert.ok(success, new TextDecoder().decode(stderr));
    const steps = stepsIn(await Deno.readTextFile(trace), path);

    /** Since the last thing that was kept. */
    const before = (kept: string) => {
      const end = steps.indexOf(`kept ${kept}`);
      assert.ok(end >= 0, `${kept}: ${steps}`);
      const begin = steps.slice(0, end).findLastIndex((step) => step.startsWith("kept "));
      return steps.slice(begin + 1, end);
    };
    const log = before("log");
    const logFolder = "data/logs/01";
    for (const name of ["out", "err"]) {
      assert.ok(log.includes(`sync ${logFolder}/00000000000001.1.${name}`), `${name}: ${log}`);
    }
    assert.ok(log.includes(`sync ${logFolder}`), `the names of its files: ${log}`);
    const artifact = before("artifact");
    const renamed = artifact.findIndex((step) => /^rename \S+\.part$/.test(step));
    assert.ok(renamed > 0, String(artifact));
    const part = artifact[renamed]!.replace("rename ", "");
    assert.ok(artifact.slice(0, renamed).includes(`sync ${part}`), `its bytes: ${artifact}`);
    assert.ok(artifact.slice(renamed).includes(`sync ${dirname(part)}`), `its name: ${artifact}`);
    const result = before("result");
    assert.deepEqual(result.slice(0, 3).map((step) => step.replace("spool/", "")), [
      "sync t1.1.1.json.next",
      "rename t1.1.1.json.next",
      "sync spool",
    ]);
    assert.ok(before("commit").some((step) => basename(step) === "tasks.db-wal"));
  },
});

/** `sync PATH`, `rename FROM` and what was printed, in order; paths below the folder, relative to it. */
function stepsIn(trace: string, folder: string): string[] {
  const steps: string[] = [];
  for (const line of trace.split("\n")) {
    const [, synced] = /(?:fsync|fdatasync)\(\d+<([^>]+)>/.exec(line) ?? [];
    const [, from] = /rename\w*\([^"]*"([^"]+)"/.exec(line) ?? [];
    const [, kept] = /"(kept \w+)\\n"/.exec(line) ?? [];
    const path = synced ?? from;
    if (kept !== undefined) steps.push(kept);
    else if (path?.startsWith(folder)) {
      steps.push(`${synced === undefined ? "rename" : "sync"} ${path.slice(folder.length + 1)}`);
    }
  }
  return steps;
}

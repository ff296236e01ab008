/**
 * Faults that end the executable in the runtime, before any code of ours: docs/commands.md explains
 * what it says then. A runtime that says something else, or works, ends this test: the page changes
 * with it.
 */
import assert from "node:assert/strict";
import { agent, type RunOptions } from "../support/agent.ts";
import { asRoot, component, programs } from "../support/component.ts";

const shell = (script: string) => ["sh", "-c", script, "sh"];
const faults: Record<string, [args: string[], options: RunOptions]> = {
  "Could not convert path to URL": [["version"], { env: { TMPDIR: "" } }],
  "No such file or directory (os error 2)": [["version"], {
    through: shell(`mkdir gone && cd gone && rmdir ../gone && exec "$@"`),
  }],
  'called `Result::unwrap()` on an `Err` value: "\\xFF"': [["submit", "--"], {
    through: shell(`exec "$@" "$(printf '\\377')"`),
  }],
  "no /proc/self/exe available. Is /proc mounted?": [["version"], {
    through: ["unshare", "--mount", ...shell(`umount -l /proc && exec "$@"`)],
  }],
};

// A program that runs from source has a runtime that was started well.
if (agent.compiled) {
  Deno.test({
    name: "what the runtime says before our code runs is what the manual explains",
    ...await component("mount namespaces", asRoot, programs("unshare", "umount")),
    async fn() {
      const page = await Deno.readTextFile(new URL("../../docs/commands.md", import.meta.url));
      for (const [message, [args, options]] of Object.entries(faults)) {
        const ran = await agent.run(args, options);
        assert.notEqual(ran.code, 0, message);
        assert.ok(ran.stderr.includes(message), `${message}, but: ${ran.stderr}`);
        assert.ok(page.includes(message), `the manual does not explain: ${message}`);
      }
    },
  });
}

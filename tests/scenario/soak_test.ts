import assert from "node:assert/strict";
import { soak } from "../support/soak.ts";

Deno.test({
  name: "what was accepted ends as it should, whatever is killed, stopped and cut",
  ignore: Deno.build.os !== "linux",
  async fn() {
    const said: string[] = [];
    const report = await soak({ forMs: 15_000, say: (line) => void said.push(line) })
      .catch((error) => {
        throw new Error(`${said.join("\n")}\n${error.message}`, { cause: error });
      });
    assert.ok(report.accepted >= 20, `only ${report.accepted} tasks: ${said[0]}`);
  },
});

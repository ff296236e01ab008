import metadata from "../../../deno.json" with { type: "json" };
import { build } from "../build.ts";
import { command } from "../command.ts";

export default command({
  path: "version",
  summary: "Show the version of agent, and what it runs on",
  options: {},
  examples: [
    { line: "agent version", does: "One line for people" },
    { line: "agent version --json", does: "The same for programs" },
  ],
  run: () => ({
    version: metadata.version,
    commit: build.commit ?? "unknown",
    deno: Deno.version.deno,
    platform: Deno.build.target,
  }),
  text: ({ version, commit, deno, platform }) =>
    `agent ${version} (commit ${commit}, Deno ${deno}, ${platform})`,
});

import { build } from "../../base/version.ts";
import { command } from "../command.ts";

export default command({
  path: "version",
  summary: "Show the version of agent and of its runtime",
  options: {},
  examples: [
    { line: "agent version", does: "Print one line for people" },
    { line: "agent version --json", does: "The same for programs" },
  ],
  run: build,
  text: ({ version, commit, deno, platform }) =>
    `agent ${version} (${
      commit === undefined ? "" : `commit ${commit}, `
    }Deno ${deno}, ${platform})`,
});

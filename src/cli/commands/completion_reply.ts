import { command } from "../command.ts";
import { complete } from "../complete.ts";

export default command({
  path: "completion reply",
  summary: "Print what may follow, for the completion script of a shell",
  hidden: true,
  rest: { placeholder: "WORDS…", help: "The line so far; the last word is the one being typed" },
  options: {},
  examples: [{
    line: "agent completion reply -- conf",
    does: "Print the words that begin with it",
  }],
  run: async ({ rest }) => ({ words: await complete(rest) }),
  text: ({ words }) => words.join("\n"),
});

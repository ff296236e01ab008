import { command } from "../command.ts";
import { complete } from "../complete.ts";

export default command({
  path: "completion reply",
  summary: "Tell a shell what may follow",
  hidden: true,
  rest: { placeholder: "WORDS…", help: "The line so far; the last word is the one being typed" },
  options: {},
  examples: [{ line: "agent completion reply -- conf", does: "Prints what begins like that" }],
  run: async ({ rest }) => ({ words: await complete(rest) }),
  text: ({ words }) => words.join("\n"),
});

import { complete } from "../complete.ts";
import { command } from "../command.ts";
import { completionLines } from "../output/completion_lines.ts";

export default command({
  path: "completion reply",
  summary: "Print what may follow, for the completion script of a shell",
  description: "Each line is a word, a tab, and what it is. What only coordinators know is asked " +
    "by agent completion ids; see cli/run.ts.",
  hidden: true,
  rest: { placeholder: "WORDS…", help: "The line so far; the last word is the one being typed" },
  options: {},
  examples: [{
    line: "agent completion reply -- conf",
    does: "Print the words that begin with it",
  }],
  exits: { 1: "Only the shell knows, as with names of files" },
  run: async ({ rest }) => {
    const found = await complete(rest);
    return { candidates: found !== undefined && "candidates" in found ? found.candidates : null };
  },
  text: ({ candidates }) => completionLines(candidates ?? []),
  exit: ({ candidates }) => candidates === null ? 1 : 0,
});

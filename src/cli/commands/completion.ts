import { UsageError } from "../../base/errors.ts";
import { suggestion } from "../../base/suggest.ts";
import { command } from "../command.ts";

export default command({
  path: "completion",
  summary: "Print the completion script of a shell",
  description: `The script completes commands, flags and the values of flags. It asks the program
    itself, so it stays current after an update.`,
  args: [{ name: "SHELL", help: "bash, zsh or fish", required: true }],
  options: {},
  examples: [
    { line: "agent completion bash >> ~/.bashrc", does: "Set it up for bash" },
    { line: "agent completion zsh >> ~/.zshrc", does: "Set it up for zsh" },
    {
      line: "agent completion fish > ~/.config/fish/completions/agent.fish",
      does: "Set it up for fish",
    },
  ],
  run: ({ args: [shell = ""] }) => {
    if (!Object.hasOwn(scripts, shell)) {
      const shells = Object.keys(scripts);
      throw new UsageError(
        `No completion for the shell "${shell}"`,
        suggestion(shell, shells, `Shells are ${shells.join(", ")}`),
      );
    }
    return { shell, script: scripts[shell]! };
  },
  text: ({ script }) => script,
});

/** The scripts ask the program itself what may follow. */
const scripts: Record<string, string> = {
  bash: `_agent() {
  local IFS=$'\\n'
  COMPREPLY=($(agent completion reply -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _agent agent
`,
  zsh: `_agent() {
  local -a found
  found=("\${(@f)$(agent completion reply -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "\${found[1]}" ]]; then compadd -- "\${found[@]}"; else _files; fi
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
compdef _agent agent
`,
  fish: `function __agent_complete
  set -l words (commandline -opc) (commandline -ct)
  agent completion reply -- $words[2..] 2>/dev/null
end
complete -c agent -a '(__agent_complete)'
`,
};

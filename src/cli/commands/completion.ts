import { UsageError } from "../../base/errors.ts";
import { suggestion } from "../../base/suggest.ts";
import { command } from "../command.ts";

export default command({
  path: "completion",
  summary: "Print the completion script of a shell",
  description:
    `The script completes commands, flags, the values of flags, and what coordinators know:
    ids of tasks and workers, and keys of state. It asks the program itself, so it stays current
    after an update; coordinators are asked as by any client command.`,
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

/**
 * The scripts ask the program itself what may follow: lines of a word, a tab, and what it is. Exit code
 * 1 leaves it to the shell.
 *
 * bash splits the line at `=`, `:` and `@` too, so words without a blank between them are joined, and
 * what it keeps of them, which is what ends with `=` or `:`, is taken off the answers. Descriptions are for lists only, as what is common
 * to all answers is put into the line. Nothing here needs more than bash 3.2, which macOS has.
 */
const scripts: Record<string, string> = {
  bash: `_agent() {
  local words=() word kept='' line=$COMP_LINE i n=-1 found IFS=$' \\t\\n'
  for ((i = 0; i <= COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if ((n < 0)) || [[ $line == [[:space:]]* ]]; then
      line=\${line#"\${line%%[![:space:]]*}"} kept=''
      ((++n))
      words[n]=$word
    else
      kept=\${words[n]}
      words[n]=$kept$word
    fi
    line=\${line#"$word"}
  done
  if [[ $word == [=:] ]]; then kept=\${words[n]}; fi
  kept=\${kept%@}
  COMPREPLY=()
  if ! found=$(agent completion reply -- "\${words[@]:1}" 2>/dev/null); then return; fi
  compopt +o default 2>/dev/null
  local count=0 shown
  while IFS=$'\\t' read -r word shown; do
    if [[ -z $word ]]; then continue; fi
    printf -v word %q "\${word#"$kept"}"
    if [[ -n $shown && ( $COMP_TYPE == 63 || $COMP_TYPE == 33 ) ]]; then
      word="$word  ($shown)"
    fi
    COMPREPLY[count++]=$word
  done <<<"$found"
  if ((count == 1)); then COMPREPLY[0]=\${COMPREPLY[0]%%  (*}; fi
}
complete -o default -o nosort -F _agent agent 2>/dev/null || complete -o default -F _agent agent
`,
  zsh: `#compdef agent
_agent() {
  local text word shown
  local -a all
  text=$(agent completion reply -- "\${(@)words[2,CURRENT]}" 2>/dev/null) || { _files; return }
  while IFS=$'\\t' read -r word shown; do
    [[ -z $word ]] || all+=("\${word//:/\\\\:}\${shown:+:$shown}")
  done <<<"$text"
  (( $#all )) && _describe -V agent all
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
if [[ $funcstack[1] == _agent ]]; then _agent "$@"; else compdef _agent agent; fi
`,
  fish: `function __agent_complete
  set -l words (commandline -opc) (commandline -ct)
  agent completion reply -- $words[2..] 2>/dev/null
  or __fish_complete_path (commandline -ct)
end
complete -c agent -f -k -a '(__agent_complete)'
`,
};

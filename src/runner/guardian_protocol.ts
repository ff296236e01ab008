/**
 * The guardian: a process of its own, in a session of its own, that ends all processes of tasks
 * when the worker cannot.
 *
 * It reads lines: `b N`, a beat, which it writes back so that the worker sees that it lives; else
 * words, `+PGID` for a process group to watch over and `-PGID` for one that has ended. When its
 * input ends, or brings no line for `guardianMs`, it writes `acted`, sends SIGKILL to all groups,
 * and to all in the worker's cgroups (cgroups.ts) but the one that the worker itself is in, then to
 * every process that carries the worker's mark (marks.ts) until some looks find none. If the
 * worker is dead it removes its cgroups, and exits. It ignores the signals that would end it together with the worker.
 *
 * Where the system has a shell that can wait with a time limit it is a shell loop of 3 MiB, else
 * this same program.
 */
import { defaultPath } from "./program.ts";

export interface GuardianCommand {
  command: string;
  args: string[];
}

/** Looks for marked processes that must find none: processes between fork and exec have no mark yet. */
export const guardianLooks = { inRow: 3, gapMs: 100 } as const;

/**
 * Kept to what both bash and busybox understand. $1: mark, $2: seconds of silence, $3: folder of the
 * attempts' cgroups or nothing, $4: the worker.
 */
const script = `
trap '' HUP INT TERM PIPE
set -f
groups=' '
while IFS= read -r -t "$2" line; do
  case $line in
  b*) echo "$line" ;;
  *)
    for word in $line; do
      case $word in
      +*) groups="$groups\${word#+} " ;;
      -*) groups=\${groups/ \${word#-} / } ;;
      esac
    done
    ;;
  esac
done
exec 2>/dev/null
echo acted
for group in $groups; do kill -KILL -- "-$group"; done
set +f
if [ -n "$3" ]; then
  for kill in "$3"/*/cgroup.kill; do
    grep -qsx "$4" "\${kill%kill}procs" || echo 1 >"$kill"
  done
fi
clean=0
while [ $clean -lt ${guardianLooks.inRow} ]; do
  clean=$((clean + 1))
  for file in $(grep -lszE "^AGENT_ATTEMPT=$1" /proc/[0-9]*/environ); do
    clean=0
    pid=\${file#/proc/}
    kill -KILL "\${pid%/environ}"
  done
  sleep ${guardianLooks.gapMs / 1000}
done
[ -z "$3" ] || [ -e "/proc/$4" ] || rmdir "$3"/*/ "$3"
`;

/** What a guardian watches over, and how to start this program as one. */
export interface Guarded {
  mark: string;
  silenceMs: number;
  /** Mark, milliseconds, cgroups and the worker's id are appended. */
  self: GuardianCommand;
  /** Folder of the attempts' cgroups, where there are some. */
  cgroups: string | undefined;
}

/** The ways to start a guardian, the smallest first. */
export function guardianCommands(
  { mark, silenceMs, self, cgroups = "" }: Guarded,
  exists: (path: string) => boolean = isFile,
): GuardianCommand[] {
  // Shells wait whole seconds at best.
  const seconds = String(Math.ceil(silenceMs / 1000));
  const rest = [cgroups, String(Deno.pid)];
  const args = ["-c", script, "agent-guardian", mark, seconds, ...rest];
  const find = (name: string) =>
    defaultPath.split(":").map((folder) => `${folder}/${name}`).find(exists);
  const found: GuardianCommand[] = [];
  const [bash, busybox, grep] = [find("bash"), find("busybox"), find("grep")];
  if (bash !== undefined && grep !== undefined) found.push({ command: bash, args });
  if (busybox !== undefined && grep !== undefined) {
    found.push({ command: busybox, args: ["sh", ...args] });
  }
  found.push({ command: self.command, args: [...self.args, mark, String(silenceMs), ...rest] });
  return found;
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    // Whatever the reason: it cannot be used.
    return false;
  }
}

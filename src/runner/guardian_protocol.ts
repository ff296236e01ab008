/**
 * The guardian: a process in a session of its own that ends all processes of tasks when the worker
 * cannot.
 *
 * It reads lines. `b N` is a beat, which it writes back to show that it works. Other lines are words:
 * `+PGID` for a process group to watch, `-PGID` for one that has ended. When its input ends, or no line
 * comes for `guardianMs`, it writes `acted` and sends SIGKILL: to all groups, to the worker's cgroups
 * (cgroups.ts) except the one that the worker itself is in, then to every process with the worker's
 * mark (leftover_processes.ts) until some looks find none. If the worker is dead it removes the
 * cgroups. It ignores signals that end the worker.
 *
 * It is a shell loop of 3 MiB if the system has a shell that can wait with a time limit, else this
 * program itself.
 */
import { defaultPath } from "./program.ts";

export interface GuardianCommand {
  command: string;
  args: string[];
}

/** Looks that have to find no marked process: between fork and exec a process has no mark yet. */
export const guardianLooks = { inRow: 3, gapMs: 100 } as const;

/**
 * Only what both bash and busybox understand. $1: mark, $2: seconds of silence, $3: folder of the
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
  /** Folder of the attempts' cgroups, if they are used. */
  cgroups: string | undefined;
}

/** The ways to start a guardian, the smallest first. */
export function guardianCommands(
  { mark, silenceMs, self, cgroups = "" }: Guarded,
  exists: (path: string) => boolean = isFile,
): GuardianCommand[] {
  // Shells only wait whole seconds.
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
    // It cannot be used, for whatever reason.
    return false;
  }
}

/**
 * Without a service manager (containers, minimal systems): the role is started in its own session,
 * with its output in a log file. It does not start again with the host.
 */
import { join } from "node:path";
import { UserError } from "../base/errors.ts";
import { removeIfThere, writeFileAtomic } from "../base/fs/atomic_file.ts";
import {
  drains,
  lookEveryMs,
  notInstalled,
  notReady,
  output,
  readyLine,
  readyWithinMs,
  type ServiceOptions,
  type ServiceRole,
  type ServiceSpec,
  type ServiceState,
  type ServiceSupervisor,
  stillRuns,
} from "./supervisor.ts";

/** As TimeoutStopSec of the systemd units: a worker gives its tasks this time at most. */
const stopsWithinMs = 60_000;

export class DirectSupervisor implements ServiceSupervisor {
  readonly kind = "none";
  readonly #folder: string;

  constructor(private readonly options: ServiceOptions) {
    this.#folder = join(options.stateRoot, "service");
  }

  async install(spec: ServiceSpec, drainMs?: number): Promise<ServiceState> {
    const { role, command, variables } = spec;
    Deno.mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    if (drains(role, drainMs) && !await this.#ended(role, "USR2", drainMs)) {
      throw stillRuns(drainMs, "agent service restart worker starts it again");
    }
    await this.#stop(role);
    writeFileAtomic(this.#at(role, "json"), JSON.stringify(spec), 0o600);
    const log = this.#at(role, "log");
    // Two starts are kept: this one and the one before.
    if (textOf(log) !== "") Deno.renameSync(log, this.#at(role, "log.1"));
    const args = ["-c", startScript, log, this.#at(role, "pid"), ...command];
    const ran = await output("sh", args, variables);
    if (ran.code !== 0) throw new UserError(`Could not start agent ${role}: ${ran.stderr.trim()}`);
    await this.#ready(role, log);
    return await this.status(role);
  }

  async restart(role: ServiceRole, drainMs?: number): Promise<ServiceState> {
    const spec = textOf(this.#at(role, "json"));
    if (spec === "") throw notInstalled(role);
    return await this.install(JSON.parse(spec), drainMs);
  }

  async uninstall(role: ServiceRole): Promise<ServiceState> {
    if (textOf(this.#at(role, "json")) === "") throw notInstalled(role);
    await this.#stop(role);
    for (const kind of ["pid", "json"]) removeIfThere(this.#at(role, kind));
    return await this.status(role);
  }

  async status(role: ServiceRole): Promise<ServiceState> {
    const pid = await this.#pid(role);
    return {
      role,
      manager: "none",
      installed: textOf(this.#at(role, "json")) !== "",
      running: pid !== undefined,
      state: pid === undefined ? "not running" : "running (started directly)",
      pid,
      file: this.#at(role, "log"),
    };
  }

  logs(role: ServiceRole, { lines, follow }: { lines: number; follow: boolean }): string[] {
    return ["tail", "-n", String(lines), ...follow ? ["-F"] : [], this.#at(role, "log")];
  }

  #at(role: ServiceRole, kind: string): string {
    return join(this.#folder, `${role}.${kind}`);
  }

  /** The process that was started, if it still runs; not a later process with the same id. */
  async #pid(role: ServiceRole): Promise<number | undefined> {
    const [pid = "", started = ""] = textOf(this.#at(role, "pid")).trim().split(" ");
    if (!/^\d+$/.test(pid)) return undefined;
    const now = (await output("sh", ["-c", startTimeScript, pid])).stdout.trim();
    return now !== "" && now === started ? Number(pid) : undefined;
  }

  async #ready(role: ServiceRole, log: string): Promise<void> {
    const { clock, signal } = this.options;
    const end = clock.monotonic() + readyWithinMs;
    while (!readyLine.test(textOf(log))) {
      const ended = await this.#pid(role) === undefined;
      if (ended || clock.monotonic() > end) throw notReady(role, ended, textOf(log));
      await clock.sleep(lookEveryMs, signal);
    }
  }

  /** Sends SIGTERM, and SIGKILL to a process that has not ended in time. */
  async #stop(role: ServiceRole): Promise<void> {
    if (await this.#ended(role, "TERM") || await this.#ended(role, "KILL")) return;
    throw new UserError(`agent ${role} does not end, even when it is killed`, {
      next: "ps -o pid,stat,wchan,args -C agent",
    });
  }

  /** Sends a signal; resolves to whether the process has ended in time. */
  async #ended(
    role: ServiceRole,
    name: "USR2" | "TERM" | "KILL",
    withinMs = stopsWithinMs,
  ): Promise<boolean> {
    const { clock, signal } = this.options;
    const pid = await this.#pid(role);
    if (pid === undefined) return true;
    await output("sh", ["-c", `kill -${name} "$0"`, `${pid}`]);
    const end = clock.monotonic() + withinMs;
    while (await this.#pid(role) !== undefined) {
      if (clock.monotonic() > end) return false;
      await clock.sleep(lookEveryMs, signal);
    }
    return true;
  }
}

/** Starts "$@" in its own session with its output in $0; writes its pid and start time into $1. */
const startScript = `
umask 077
log=$0 pidfile=$1
shift
if command -v setsid >/dev/null; then setsid=setsid; else setsid=; fi
$setsid "$@" </dev/null >>"$log" 2>&1 &
pid=$!
started=$(awk '{sub(/^.*\\) /, ""); print $20}' "/proc/$pid/stat" 2>/dev/null || ps -o lstart= -p "$pid" | tr ' ' _)
printf '%s %s\\n' "$pid" "$started" >"$pidfile"`;

/** When the process $0 started, in the system's units; nothing for one that has ended. */
const startTimeScript =
  `awk '{sub(/^.*\\) /, ""); if ($1 != "Z") print $20}' "/proc/$0/stat" 2>/dev/null ||
  ps -o lstart= -p "$0" | tr ' ' _`;

function textOf(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}

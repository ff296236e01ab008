/** Roles as units of systemd, of the system or of a user. */
import { dirname, join } from "node:path";
import { messageOf, UserError } from "../base/errors.ts";
import { writeFileAtomic } from "../base/fs/atomic_file.ts";
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
import { systemdUnit, unitName } from "./systemd_unit.ts";

export function hasSystemd(): boolean {
  try {
    // sd_booted(3)
    return Deno.statSync("/run/systemd/system").isDirectory;
  } catch {
    return false;
  }
}

export class SystemdSupervisor implements ServiceSupervisor {
  readonly kind = "systemd";
  readonly #scope: string[];
  readonly #folder: string;

  constructor(private readonly options: ServiceOptions) {
    const { user, configHome } = options;
    this.#scope = user ? ["--user"] : [];
    this.#folder = user ? join(configHome, "systemd", "user") : "/etc/systemd/system";
  }

  async install(spec: ServiceSpec, drainMs?: number): Promise<ServiceState> {
    const { user } = this.options;
    const path = this.#file(spec.role);
    try {
      Deno.mkdirSync(dirname(path), { recursive: true });
      writeFileAtomic(path, systemdUnit(spec), 0o644);
    } catch (cause) {
      throw new UserError(`Could not write the unit "${path}": ${messageOf(cause)}`, {
        next: user ? "Check the folder" : "Run this as root, or add --user",
        cause,
      });
    }
    await this.#systemctl("daemon-reload");
    await this.#systemctl("enable", "--quiet", unitName(spec.role));
    await this.#start(spec.role, drainMs);
    if (user) await keepRunning();
    await this.#ready(spec.role);
    return await this.status(spec.role);
  }

  async restart(role: ServiceRole, drainMs?: number): Promise<ServiceState> {
    if (!(await this.status(role)).installed) throw notInstalled(role);
    await this.#start(role, drainMs);
    await this.#ready(role);
    return await this.status(role);
  }

  /** Starts the unit again, after the worker's tasks have ended if that is wanted. */
  async #start(role: ServiceRole, drainMs: number | undefined): Promise<void> {
    const { pid } = await this.status(role);
    if (pid === undefined || !drains(role, drainMs)) {
      await this.#systemctl("restart", unitName(role));
      return;
    }
    await this.#systemctl("kill", "--kill-who=main", "--signal=USR2", unitName(role));
    const { clock, signal } = this.options;
    const end = clock.monotonic() + drainMs;
    // The worker ends by itself; systemd starts it again, as Restart=always says.
    for (;;) {
      const now = await this.status(role);
      if (now.pid !== pid && (now.pid !== undefined || now.state.startsWith("failed"))) return;
      if (now.pid === pid && clock.monotonic() > end) {
        throw stillRuns(drainMs, "systemd starts it again");
      }
      await clock.sleep(lookEveryMs, signal);
    }
  }

  async uninstall(role: ServiceRole): Promise<ServiceState> {
    if (!(await this.status(role)).installed) throw notInstalled(role);
    await this.#systemctl("disable", "--quiet", "--now", unitName(role));
    try {
      Deno.removeSync(this.#file(role));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    await this.#systemctl("daemon-reload");
    return await this.status(role);
  }

  async status(role: ServiceRole): Promise<ServiceState> {
    const shown = await this.#show(role);
    const pid = Number(shown.get("MainPID") ?? 0);
    return {
      role,
      manager: "systemd",
      installed: shown.get("LoadState") === "loaded",
      running: shown.get("ActiveState") === "active",
      state: `${shown.get("ActiveState")} (${shown.get("SubState")})`,
      pid: pid > 0 ? pid : undefined,
      file: this.#file(role),
    };
  }

  logs(role: ServiceRole, { lines, follow }: { lines: number; follow: boolean }): string[] {
    const end = follow ? ["-f"] : ["--no-pager"];
    return [
      "journalctl",
      ...this.#scope,
      "-u",
      unitName(role),
      "-o",
      "cat",
      "-n",
      `${lines}`,
      ...end,
    ];
  }

  #file(role: ServiceRole): string {
    return join(this.#folder, unitName(role));
  }

  async #systemctl(...args: string[]): Promise<string> {
    const ran = await output("systemctl", [...this.#scope, ...args]);
    if (ran.code === 0) return ran.stdout;
    throw new UserError(`systemctl ${args.join(" ")} failed: ${ran.stderr.trim()}`, {
      next: this.options.user
        ? "A user's services need a login session: loginctl enable-linger, then log in again"
        : "Run this as root, or install a service of your own with --user",
    });
  }

  async #show(role: ServiceRole): Promise<Map<string, string>> {
    const names = "LoadState,ActiveState,SubState,MainPID,InvocationID,NRestarts";
    const text = await this.#systemctl("show", "-p", names, unitName(role));
    return new Map(
      text.split("\n").filter((line) => line.includes("="))
        .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
    );
  }

  async #journal(role: ServiceRole, ...more: string[]): Promise<string> {
    const args = [...this.#scope, "-u", unitName(role), "-o", "cat", "--no-pager", ...more];
    return (await output("journalctl", args)).stdout;
  }

  /** Waits for the ready line of this start; a role that ends before shows its log. */
  async #ready(role: ServiceRole): Promise<void> {
    const { clock, signal } = this.options;
    const end = clock.monotonic() + readyWithinMs;
    for (;;) {
      const shown = await this.#show(role);
      const start = `_SYSTEMD_INVOCATION_ID=${shown.get("InvocationID") ?? ""}`;
      if (readyLine.test(await this.#journal(role, start))) return;
      const failed = shown.get("ActiveState") === "failed" || Number(shown.get("NRestarts")) > 0;
      if (failed || clock.monotonic() > end) {
        throw notReady(role, failed, await this.#journal(role, "-n", "30"));
      }
      await clock.sleep(lookEveryMs, signal);
    }
  }
}

/** Without it a user's services end when the user logs out. */
async function keepRunning(): Promise<void> {
  const { code, stderr } = await output("loginctl", ["enable-linger"]);
  if (code === 0) return;
  throw new UserError(
    `The service runs, but ends when you log out: loginctl enable-linger failed: ${stderr.trim()}`,
    { next: "As root: loginctl enable-linger USER" },
  );
}

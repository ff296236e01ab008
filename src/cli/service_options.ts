/** What the `service` commands have in common. */
import type { Env } from "../base/env.ts";
import { Refusal } from "../base/errors.ts";
import { type Grants, noGrants } from "../sandbox/grants.ts";
import type { ServiceRole, ServiceState, ServiceSupervisor } from "../service/supervisor.ts";

export const roleArg = {
  name: "ROLE",
  help: "node, coordinator or worker",
  required: true,
} as const;

export const userOption = {
  user: { kind: "flag", help: "A service of this user, not of the whole system" },
} as const;

export const drainOption = {
  drain: {
    kind: "duration",
    placeholder: "TIME",
    help: "Let the running tasks of a worker end first, and wait so long for them",
  },
} as const;

/** Where units and configurations of this user are. */
export function configHome(): string {
  return Deno.env.get("XDG_CONFIG_HOME") ?? `${Deno.env.get("HOME") ?? ""}/.config`;
}

/** The unit folder and the configuration; systemd's own programs, or a shell where there is none. */
export async function serviceGrants(env: Env, { user }: { user: boolean }): Promise<Grants> {
  const { hasSystemd } = await import("../service/systemd.ts");
  const folders = hasSystemd()
    ? [user ? `${configHome()}/systemd/user` : "/etc/systemd/system"]
    : [`${env.stateRoot}/service`];
  // A thread that is granted a folder alone could not make the folders above it.
  if (!hasSystemd()) Deno.mkdirSync(folders[0]!, { recursive: true, mode: 0o700 });
  return {
    ...noGrants,
    read: [...folders, "/run/systemd/system"],
    write: folders,
    sys: ["uid"],
    run: hasSystemd() ? ["systemctl", "loginctl", "journalctl"] : ["sh", "tail"],
    env: ["HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"],
  };
}

export async function supervisorOf(env: Env, user: boolean): Promise<ServiceSupervisor> {
  const { hasSystemd, SystemdSupervisor } = await import("../service/systemd.ts");
  const { DirectSupervisor } = await import("../service/direct.ts");
  const options = {
    user,
    configHome: configHome(),
    stateRoot: env.stateRoot,
    clock: env.clock,
    signal: env.signal,
  };
  return hasSystemd() ? new SystemdSupervisor(options) : new DirectSupervisor(options);
}

export async function roleOfArg(arg: string): Promise<ServiceRole> {
  const { serviceRoles } = await import("../service/supervisor.ts");
  const role = serviceRoles.find((known) => known === arg);
  if (role !== undefined) return role;
  const { UsageError } = await import("../base/errors.ts");
  throw new UsageError(`"${arg}" is not a role; roles are ${serviceRoles.join(", ")}`);
}

export function stateView({ role, manager, installed, running, state, pid, file }: ServiceState) {
  return { role, manager, installed, running, state, pid: pid ?? null, file };
}

export function stateText(state: ReturnType<typeof stateView>): string {
  const pid = state.pid === null ? "" : `, process ${state.pid}`;
  return `agent ${state.role}: ${state.installed ? state.state : "not installed"}${pid}\n` +
    `  ${state.manager === "systemd" ? "Unit" : "Log "}  ${state.file}`;
}

/** A service of the whole system is root's to change. */
export function requireRoot(user: boolean, managerKind: ServiceSupervisor["kind"]): void {
  if (user || managerKind !== "systemd" || Deno.uid() === 0) return;
  throw new Refusal("Only root can change services of the whole system", {
    next: "Run this with sudo, or add --user for a service of your own",
  });
}

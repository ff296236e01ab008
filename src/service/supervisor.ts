/** Runs a role as a service: the interface of both ways, systemd and a direct start. */
import { UserError } from "../base/errors.ts";
import type { Clock } from "../base/clock.ts";
import { formatDuration } from "../base/durations.ts";

export const serviceRoles = ["node", "coordinator", "worker"] as const;
export type ServiceRole = (typeof serviceRoles)[number];

export interface ServiceSpec {
  role: ServiceRole;
  /** The program and its arguments, as absolute paths. */
  command: string[];
  /** A service of this user instead of the whole system. */
  user: boolean;
  /** Folders that the role writes to. */
  writes: string[];
  /** Further files that it reads. */
  reads: string[];
  /** Variables that the service needs to find the same folders. */
  variables: Record<string, string>;
}

export interface ServiceState {
  role: ServiceRole;
  manager: "systemd" | "none";
  installed: boolean;
  running: boolean;
  /** In the words of the manager: "active (running)". */
  state: string;
  pid: number | undefined;
  /** The unit, or the log of a role that was started directly. */
  file: string;
}

/** Installs, controls and shows the services of roles. */
export interface ServiceSupervisor {
  readonly kind: "systemd" | "none";
  /**
   * Writes and starts the service; resolves when the role has logged that it is ready.
   *
   * @param drainMs as for `restart`.
   */
  install(spec: ServiceSpec, drainMs?: number): Promise<ServiceState>;
  /**
   * Starts what is installed again; resolves as `install` does.
   *
   * @param drainMs how long to wait for the tasks of a running worker, which takes no more. Without it
   * they are ended after a few seconds, and run elsewhere.
   */
  restart(role: ServiceRole, drainMs?: number): Promise<ServiceState>;
  uninstall(role: ServiceRole): Promise<ServiceState>;
  status(role: ServiceRole): Promise<ServiceState>;
  /** The command that shows the log, for this terminal. */
  logs(role: ServiceRole, options: { lines: number; follow: boolean }): string[];
}

export interface ServiceOptions {
  user: boolean;
  configHome: string;
  stateRoot: string;
  clock: Clock;
  signal: AbortSignal;
}

/** Longer than a first start on a slow disk takes. */
export const readyWithinMs = 30_000;
export const lookEveryMs = 200;

/** The line of a role's log that says that it is ready, as text or JSON. */
export const readyLine = /(^|\s)ready role=|"msg":"ready"/m;

export function notReady(role: ServiceRole, ended: boolean, log: string): UserError {
  const last = log.trim().split("\n").slice(-30).join("\n");
  return new UserError(
    `agent ${role} ${ended ? "does not start" : "is not ready after 30 s"}; its log:\n${last}`,
    { next: `Correct the cause, then run agent service install ${role} again` },
  );
}

/** @param then what happens when the tasks have ended. */
export function stillRuns(drainMs: number, then: string): UserError {
  return new UserError(
    `agent worker still runs tasks after ${formatDuration(drainMs)}; it takes no more, and when ` +
      `they have ended ${then}`,
    {
      next: "Wait for them, or end them, so that they run elsewhere: agent service restart worker",
    },
  );
}

/** Whether a role is to end by itself before it is stopped: only a worker has something to finish. */
export function drains(role: ServiceRole, drainMs: number | undefined): drainMs is number {
  return role === "worker" && drainMs !== undefined && drainMs > 0;
}

export function notInstalled(role: ServiceRole): UserError {
  return new UserError(`agent ${role} is not installed as a service here`, {
    next: `agent service install ${role}`,
  });
}

/** Runs a program to its end, without input. */
export async function output(program: string, args: string[], env: Record<string, string> = {}) {
  const ran = await new Deno.Command(program, { args, env, stdin: "null" }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code: ran.code, stdout: text(ran.stdout), stderr: text(ran.stderr) };
}

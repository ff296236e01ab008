/** The facts about this host that need no network. The main thread gathers them. */
import { accessSync, constants, statfsSync } from "node:fs"; // Deno has neither call of its own.
import { dirname } from "node:path";
import type { Config } from "../config/schema.ts";
import { idleTls, peerMode, type PeerRole } from "../config/peer_mode.ts";
import { UserError } from "../base/errors.ts";
import type { Facts, FolderFacts, TlsFacts } from "./facts.ts";

export type LocalFacts = Omit<
  Facts,
  "ownAddresses" | "usableInterfaces" | "ports" | "targets" | "multicast"
>;

export interface LocalOptions {
  config: Config;
  findings: {
    problems: { message: string; next?: string }[];
    warnings: string[];
    idleDirectory?: string;
    unknownVariables: { name: string; nearest?: string }[];
  };
  tls: Facts["tls"];
  tokenFile: string;
  releasedOn: string;
  hasSystemd: boolean;
  now: number;
}

export function localFacts(options: LocalOptions): LocalFacts {
  const { config, findings, tls, tokenFile, releasedOn, hasSystemd, now } = options;
  const { values } = config;
  const { idleDirectory } = findings;
  return {
    now,
    releasedOn: Date.parse(releasedOn),
    os: Deno.build.os,
    hostname: Deno.hostname(),
    hasProc: Deno.build.os !== "linux" || exists("/proc/self/stat"),
    config: {
      file: config.file,
      problems: findings.problems,
      warnings: findings.warnings.filter((warning) => warning !== idleDirectory),
      idle: idleTls(config) ?? idleDirectory,
      unknownVariables: findings.unknownVariables,
      refused: findings.problems.length > 0 ? [] : refusedRoles(config),
    },
    tls,
    token: { file: tokenFile, exists: exists(tokenFile), mode: modeOf(tokenFile) },
    folders: (["coordinator.data_dir", "worker.data_dir", "node.data_dir"] as const)
      .map((setting) => folderFacts(setting, values[setting])),
    cgroups: cgroups(),
    worker: { user: values["worker.user"], isRoot: Deno.uid() === 0 },
    units: units(),
    hasSystemd,
  };
}

/** The part of `tls status --json` that the rules need. */
export function tlsFacts(report: string): TlsFacts {
  const { host, enabled, warnings } = JSON.parse(report) as TlsFacts;
  return { host, enabled, warnings };
}

/** Roles that would not start with these settings. */
function refusedRoles(config: Config): Facts["config"]["refused"] {
  const roles: PeerRole[] = ["coordinator", "worker", "client"];
  const found = new Map<string, { role: string; message: string; next: string | undefined }>();
  for (const role of roles) {
    try {
      peerMode(config, role);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      // All roles usually fail for the same cause: it is reported once.
      if (!found.has(error.message)) {
        found.set(error.message, { role, message: error.message, next: error.next });
      }
    }
  }
  return [...found.values()];
}

function folderFacts(setting: string, path: string): FolderFacts {
  const there = nearestFolder(path);
  const space = (() => {
    try {
      return statfsSync(there);
    } catch {
      return undefined; // Some file systems report no sizes.
    }
  })();
  return {
    setting,
    path,
    exists: there === path,
    writable: isWritable(there),
    freeBytes: space && space.blocks > 0 ? space.bavail * space.bsize : undefined,
    totalBytes: space && space.blocks > 0 ? space.blocks * space.bsize : undefined,
    // File systems without a fixed number of files report 0.
    freeInodes: space && space.files > 0 ? space.ffree : undefined,
  };
}

function nearestFolder(path: string): string {
  return exists(path) || dirname(path) === path ? path : nearestFolder(dirname(path));
}

function isWritable(path: string): boolean {
  try {
    // Root may write where the mode lets nobody, as in the root of cgroups.
    if (Deno.uid() === 0) Deno.statSync(path);
    else accessSync(path, constants.W_OK);
    return !isReadOnlyMount(Deno.realPathSync(path));
  } catch {
    return false;
  }
}

/** Deno's `access` asks the modes alone. */
function isReadOnlyMount(path: string): boolean {
  if (Deno.build.os !== "linux") return false;
  let [longest, isReadOnly] = ["", false];
  for (const line of mountinfo().split("\n")) {
    // proc_pid_mountinfo(5): the mount point is the fifth field, with blanks as octal numbers.
    const fields = line.split(" ");
    const mount = (fields[4] ?? "").replaceAll(
      /\\([0-7]{3})/g,
      (_, octal) => String.fromCharCode(parseInt(octal, 8)),
    );
    const holds = path === mount || path.startsWith(mount.endsWith("/") ? mount : `${mount}/`);
    if (mount === "" || !holds || mount.length < longest.length) continue;
    const options = `${fields[5]},${fields.at(-1)}`.split(",");
    [longest, isReadOnly] = [mount, options.includes("ro")];
  }
  return isReadOnly;
}

/** Empty if /proc is not mounted, which is a finding of its own. */
function mountinfo(): string {
  try {
    return Deno.readTextFileSync("/proc/self/mountinfo");
  } catch {
    return "";
  }
}

/** cgroup v2, and whether this process could make cgroups below its own. */
function cgroups(): Facts["cgroups"] {
  if (Deno.build.os !== "linux") return "none";
  try {
    const mounts = mountinfo();
    // proc_pid_mountinfo(5): the type follows the dash.
    const [, mount] = /^(?:\S+ ){4}(\S+) .* - cgroup2 /m.exec(mounts) ?? [];
    if (mount === undefined) return mounts.includes(" - cgroup ") ? "v1" : "none";
    const own = /^0::(.*)$/m.exec(Deno.readTextFileSync("/proc/self/cgroup"))?.[1] ?? "/";
    return isWritable(`${mount}${own}`) ? "writable" : "read_only";
  } catch {
    return "none"; // /proc is not mounted, which is a finding of its own.
  }
}

function units(): Facts["units"] {
  const folder = "/etc/systemd/system";
  return ["node", "coordinator", "worker"].map((role) => ({ role, unit: `agent-${role}.service` }))
    .filter(({ unit }) => exists(`${folder}/${unit}`))
    .map(({ role, unit }) => ({
      role,
      enabled: exists(`${folder}/multi-user.target.wants/${unit}`),
    }));
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false; // Missing or not accessible: for these paths it is the same.
  }
}

function modeOf(path: string): number | undefined {
  try {
    return Deno.statSync(path).mode ?? undefined;
  } catch {
    return undefined; // It does not exist.
  }
}

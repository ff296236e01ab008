/** The systemd unit of a role: a pure function of what it runs. */
import type { ServiceSpec } from "./supervisor.ts";

/**
 * The hardening common to all roles, each line with its reason where it is not obvious. Checked by
 * `systemd-analyze security` in the tests.
 */
const hardening = `
# A role writes to its state folder and the configuration folder only.
ProtectSystem=strict
ProtectHome=@HOME@
PrivateTmp=yes
PrivateDevices=yes
DevicePolicy=closed
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
RestrictSUIDSGID=yes
RestrictRealtime=yes
RestrictNamespaces=yes
# AF_NETLINK: the list of network interfaces.
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
LockPersonality=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources @obsolete
SystemCallErrorNumber=EPERM
# V8 compiles JavaScript at run time: memory must be writable and then executable.
MemoryDenyWriteExecute=no`;

/** Tasks are programs of any kind: they need devices (GPUs), homes, set-user-ID programs, other users. */
const workerHardening = `
# Tasks may need any device, folder and system call; what a task may do is its user's rights
# (worker.user) and worker.allow_commands. What no task needs is closed.
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectClock=yes
ProtectHostname=yes
LockPersonality=yes
RestrictRealtime=yes
SystemCallArchitectures=native
# A cgroup for each task: how the processes of a task are found and ended.
Delegate=yes`;

export function unitName(role: string): string {
  return `agent-${role}.service`;
}

export function systemdUnit(spec: ServiceSpec): string {
  const { role, command, user, configRoot, stateRoot, variables } = spec;
  const isWorker = role === "worker";
  const home = user ? "read-only" : configRoot.startsWith("/root/") ? "no" : "yes";
  const environment = Object.entries(variables)
    .map(([name, value]) => `Environment=${quoted(`${name}=${value}`)}\n`).join("");
  const writable = [stateRoot, configRoot].map((folder) => quoted(`-${folder}`)).join(" ");
  return `# Written by agent service install; replaced by it. Changes of your own belong into
# systemctl ${user ? "--user " : ""}edit ${unitName(role)}
[Unit]
Description=agent ${role}
Wants=network-online.target
After=network-online.target
# Never give up: a host that comes back must find its role running.
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart=${command.map(quoted).join(" ")}
${environment}Restart=always
RestartSec=2s
# Wrong usage or configuration: another start would end in the same way.
RestartPreventExitStatus=2
# The role stops what it started, and then itself; what is left after the time is killed.
KillMode=mixed
TimeoutStopSec=${isWorker ? "60s" : "30s"}
${isWorker ? "" : `ReadWritePaths=${writable}\n`}UMask=0077
LimitNOFILE=65536
${
    isWorker
      ? "# The kernel ends tasks before the worker that reports it.\nOOMPolicy=continue\n"
      : ""
  }${(isWorker ? workerHardening : hardening.replace("@HOME@", home)).trim()}

[Install]
WantedBy=${user ? "default.target" : "multi-user.target"}
`;
}

/** As systemd.syntax(7) quotes words; `%` and `$` would be expanded. */
function quoted(word: string): string {
  const escaped = word.replaceAll("%", "%%").replaceAll("$", "$$$$");
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(escaped)
    ? escaped
    : `"${escaped.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}

/** The systemd unit of a role: a pure function of what it runs. */
import type { ServiceSpec } from "./supervisor.ts";

/**
 * The hardening common to all roles, each line with its reason where it is not obvious. Checked by
 * `systemd-analyze security` in the tests.
 */
const hardening = `
# A role writes only to the folders of ReadWritePaths.
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
# Tasks may need any device, folder and system call; worker.user and worker.allow_commands limit
# them. What no task needs is closed.
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectClock=yes
ProtectHostname=yes
LockPersonality=yes
RestrictRealtime=yes
SystemCallArchitectures=native
# Each task gets a cgroup: this is how its processes are found and ended.
Delegate=yes`;

export function unitName(role: string): string {
  return `agent-${role}.service`;
}

export function systemdUnit(spec: ServiceSpec): string {
  const { role, command, user, writes, reads, variables } = spec;
  const isWorker = role === "worker";
  const inHomes = [...command, ...writes, ...reads].some((path) =>
    /^\/(home|root|run\/user)\//.test(path)
  );
  const home = user || inHomes ? "read-only" : "yes";
  const environment = Object.entries(variables)
    .map(([name, value]) => `Environment=${quoted(`${name}=${value}`)}\n`).join("");
  const writable = writes.map((folder) => quoted(`-${folder}`)).join(" ");
  return `# Written by agent service install, which overwrites it. Make changes of your own with
# systemctl ${user ? "--user " : ""}edit ${unitName(role)}
[Unit]
Description=agent ${role}
Wants=network-online.target
After=network-online.target
# Never give up: the role must run again when the cause of its failures has gone.
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart=${command.map((word) => quoted(word.replaceAll("$", "$$$$"))).join(" ")}
${environment}Restart=always
RestartSec=2s
# Wrong usage or configuration: the next start would fail in the same way.
RestartPreventExitStatus=2
# The role stops what it started, then itself. What still runs after the timeout is killed.
KillMode=mixed
TimeoutStopSec=${isWorker ? "60s" : "30s"}
${isWorker ? "" : `ReadWritePaths=${writable}\n`}UMask=0077
LimitNOFILE=65536
${
    isWorker
      ? "# A task that is out of memory does not end the worker, which reports it.\nOOMPolicy=continue\n"
      : ""
  }${(isWorker ? workerHardening : hardening.replace("@HOME@", home)).trim()}

[Install]
WantedBy=${user ? "default.target" : "multi-user.target"}
`;
}

/**
 * Quotes a word as systemd.syntax(7) says; `%` would be expanded everywhere, `$` in command lines
 * only (systemd.service(5), systemd.exec(5)).
 */
function quoted(word: string): string {
  const escaped = word.replaceAll("%", "%%");
  if (/^[A-Za-z0-9_@%+=:,./-]+$/.test(escaped)) return escaped;
  const inner = escaped.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
  return `"${inner}"`;
}

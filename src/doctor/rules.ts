/** What is wrong with a host: pure rules over its facts, each with the command that fixes it. */
import { shellQuoted } from "../base/shell_quoted.ts";
import type { Facts, FolderFacts } from "./facts.ts";

export interface Finding {
  /** A stable word for programs. */
  code: string;
  severity: "problem" | "warning";
  what: string;
  next: string;
}

type Rule = (facts: Facts) => Finding[];

/** In the order in which they are shown: faults that cause others come first. */
const rules: Rule[] = [
  clock,
  system,
  configuration,
  tlsDirectory,
  secrets,
  folders,
  ports,
  names,
  targets,
  multicast,
  workers,
  services,
];

/** All findings, problems before warnings. */
export function findingsOf(facts: Facts): Finding[] {
  const all = rules.flatMap((rule) => rule(facts));
  const rank = { problem: 0, warning: 1 };
  return all.toSorted((a, b) => rank[a.severity] - rank[b.severity]);
}

const problem = (code: string, what: string, next: string): Finding => ({
  code,
  severity: "problem",
  what,
  next,
});
const warning = (code: string, what: string, next: string): Finding => ({
  code,
  severity: "warning",
  what,
  next,
});

const day = (ms: number) => new Date(ms).toISOString().slice(0, 10);

function clock({ now, releasedOn }: Facts): Finding[] {
  if (now >= releasedOn) return [];
  return [problem(
    "clock_before_release",
    `This host's clock says ${day(now)}, before this version of agent was released (${
      day(releasedOn)
    }): certificates will look not yet valid`,
    "timedatectl set-ntp true",
  )];
}

function system({ os, hasProc }: Facts): Finding[] {
  if (os !== "linux" || hasProc) return [];
  return [problem(
    "no_proc",
    "/proc is not mounted: workers cannot find the processes of tasks",
    "mount -t proc proc /proc",
  )];
}

function configuration({ config }: Facts): Finding[] {
  return [
    ...config.problems.map(({ message, next }) =>
      problem("configuration", message, next ?? "agent config check")
    ),
    ...config.warnings.map((text) => {
      // Some warnings end with their remedy.
      const [, what, next] = /^(.*?); to [^:]+: (.+)$/.exec(text) ?? [];
      return warning("configuration", what ?? text, next ?? "agent config check");
    }),
    ...config.idle === undefined ? [] : [
      warning(
        "grpc_plaintext",
        config.idle.replace(/; to use it:.*$/, ""),
        "agent config set peer.insecure false",
      ),
    ],
    ...config.unknownVariables.map(({ name, nearest }) =>
      warning(
        "unknown_variable",
        `The variable ${name} has no meaning and is ignored`,
        nearest === undefined ? `unset ${name}` : `Did you mean ${nearest}?`,
      )
    ),
    ...config.problems.length > 0 ? [] : config.refused.map(({ role, message, next }) =>
      problem(
        "role_refused",
        `agent ${role} would not start: ${message}`,
        next ?? "agent config show",
      )
    ),
  ];
}

/** Warnings of `tls status` that keep connections from working. */
const grave: ReadonlySet<string> = new Set([
  "damaged",
  "certificate_missing",
  "key_missing",
  "key_mismatch",
  "expired",
  "not_yet_valid",
  "foreign_ca",
  "nothing_trusted",
  "unusable",
  "exposed",
]);

function tlsDirectory({ tls }: Facts): Finding[] {
  if ("error" in tls) {
    return [problem("tls_directory", tls.error, tls.next ?? "agent tls status")];
  }
  return tls.warnings.filter(({ code }) => code !== "not_set_up").map((each) =>
    (grave.has(each.code) ? problem : warning)(`tls_${each.code}`, each.message, each.command)
  );
}

function secrets({ token }: Facts): Finding[] {
  const { file, exists, mode } = token;
  if (!exists || mode === undefined || (mode & 0o077) === 0) return [];
  return [problem(
    "token_readable",
    `Other users can read the token "${file}" (mode ${(mode & 0o777).toString(8)})`,
    `chmod 600 ${shellQuoted(file)}; agent token rotate`,
  )];
}

/** Below this share a coordinator removes finished tasks before `coordinator.retention`. */
const leastFree = 0.1;
const leastInodes = 1000;

function folders({ folders }: Facts): Finding[] {
  return folders.flatMap((folder) => [...access(folder), ...space(folder)]);
}

function access({ setting, path, exists, writable }: FolderFacts): Finding[] {
  if (!exists || writable) return [];
  return [problem(
    "folder_not_writable",
    `"${path}" (${setting}) cannot be written by this user`,
    `Run the role as the owner of the folder, or set ${setting}`,
  )];
}

function space({ setting, path, freeBytes, totalBytes, freeInodes }: FolderFacts): Finding[] {
  const found: Finding[] = [];
  if (freeBytes !== undefined && totalBytes !== undefined && freeBytes < totalBytes * leastFree) {
    const percent = Math.floor(100 * freeBytes / totalBytes);
    found.push(problem(
      "disk_full",
      `Only ${percent} % of the disk of "${path}" (${setting}) is free: a coordinator ` +
        "removes finished tasks early, and takes no new ones when it is full",
      `du -xh ${shellQuoted(path)} | sort -h | tail`,
    ));
  }
  if (freeInodes !== undefined && freeInodes < leastInodes) {
    found.push(problem(
      "no_inodes",
      `Only ${freeInodes} more files fit on the disk of "${path}" (${setting})`,
      `du -x --inodes ${shellQuoted(path)} | sort -n | tail`,
    ));
  }
  return found;
}

function ports({ ports }: Facts): Finding[] {
  return ports.filter(({ state }) => state === "other").map(({ role, setting, address }) =>
    problem(
      "port_taken",
      `Another program listens on ${address}, which agent ${role} would use`,
      `ss -ltnp | grep ${address.slice(address.lastIndexOf(":"))}; or set ${setting}`,
    )
  );
}

function names({ hostname, ownAddresses, usableInterfaces }: Facts): Finding[] {
  const found: Finding[] = [];
  if (ownAddresses === undefined) {
    found.push(warning(
      "own_name_unknown",
      `This host cannot resolve its own name, "${hostname}"`,
      `echo '127.0.1.1 ${hostname}' >>/etc/hosts`,
    ));
  }
  if (usableInterfaces.length === 0) {
    found.push(warning(
      "no_network",
      "No interface has an address at which other hosts could reach this one",
      "ip addr",
    ));
  }
  return found;
}

/** Certificates start an hour in the past, but people compare the times of logs. */
const clockWarnMs = 5_000;
const clockProblemMs = 5 * 60_000;

function targets({ targets }: Facts): Finding[] {
  return targets.flatMap(({ address, from, fault, addresses, clockOffsetMs }) => {
    const found: Finding[] = [];
    if (fault !== undefined) {
      const several = addresses.length > 1 ? ` (tried ${addresses.join(", ")})` : "";
      found.push(problem(fault.code, `${fault.message}${several} [${from}]`, fault.next));
    }
    const offset = Math.abs(clockOffsetMs ?? 0);
    if (offset > clockWarnMs) {
      const make = offset > clockProblemMs ? problem : warning;
      const way = clockOffsetMs! > 0 ? "ahead of" : "behind";
      found.push(make(
        "clock_differs",
        `The clock of ${address} is ${Math.round(offset / 1000)} s ${way} this host's`,
        "timedatectl set-ntp true (on the host whose clock is wrong)",
      ));
    }
    return found;
  });
}

function multicast({ multicast, os }: Facts): Finding[] {
  if (multicast === "no_route") {
    return [warning(
      "multicast_no_route",
      "There is no route for multicast: nodes cannot find each other",
      "ip route add 224.0.0.0/4 dev INTERFACE; or name the other nodes with --peer HOST:PORT",
    )];
  }
  if (multicast !== "deaf") return [];
  return [warning(
    "multicast_deaf",
    "This host does not receive its own multicast packets: nodes may not find each other",
    os === "linux"
      ? "Let UDP port 5353 through the firewall; or name the other nodes with --peer HOST:PORT"
      : "Name the other nodes with --peer HOST:PORT",
  )];
}

function workers({ cgroups, tls, worker }: Facts): Finding[] {
  const found: Finding[] = [];
  if (cgroups === "read_only" || cgroups === "v1") {
    found.push(warning(
      "no_cgroups",
      cgroups === "v1"
        ? "This host has cgroup v1 only: a task's process that leaves its group may be missed"
        : "This user cannot make cgroups: a task's process that leaves its group may be missed",
      "Run the worker as a service (agent service install worker), which delegates cgroups to it",
    ));
  }
  const holdsCa = !("error" in tls) && tls.host === "ca_holder";
  if (holdsCa && worker.isRoot && worker.user === undefined) {
    found.push(warning(
      "tasks_could_read_ca_key",
      "Tasks of a worker on this host would run as root and could read the CA's key",
      "agent config set worker.user USER",
    ));
  }
  return found;
}

function services({ units, hasSystemd, ports }: Facts): Finding[] {
  if (!hasSystemd) return [];
  return units.flatMap(({ role, enabled }) => {
    const port = ports.find((each) => each.role === role);
    if (!enabled) {
      return [warning(
        "service_disabled",
        `The service of agent ${role} does not start with the host`,
        `systemctl enable --now agent-${role}`,
      )];
    }
    if (port?.state !== "free") return [];
    return [problem(
      "service_down",
      `agent ${role} is installed as a service, but nothing listens on ${port.address}`,
      `agent service logs ${role}`,
    )];
  });
}

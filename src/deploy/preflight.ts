/** The script that looks at a peer and changes nothing, and what it found. */

/** The state of a peer before anything is changed. */
export interface Facts {
  user: string;
  uid: number;
  /** How its user can become root; "password": sudo would ask for one. */
  root: "is" | "sudo" | "password" | "doas" | "none";
  os: string;
  arch: string;
  libc: "glibc" | "musl" | "unknown";
  /** Milliseconds since the epoch, by its clock. */
  now: number;
  hostname: string;
  fqdn: string | undefined;
  addresses: string[];
  /** Folders of agent there: absolute. */
  configRoot: string;
  tlsRoot: string;
  /** Why the configuration folder cannot be written; undefined if it can. */
  unwritable: string | undefined;
  /** Whether that is because the file system is mounted read-only. */
  readOnly: boolean;
  /** KiB that are free where the state lives, and where the executable goes. */
  freeKiB: number | undefined;
  binFreeKiB: number | undefined;
  /** Whether this user may not write to the folder of the executable. */
  binUnwritable: boolean;
  /** Whether the folder of the executable is on a file system mounted noexec. */
  noexec: boolean;
  /** The executable, if there is one. */
  agent: { path: string; version: string | undefined; sha256: string | undefined } | undefined;
  /** Where an executable would be put. */
  bin: string;
  caPem: string | undefined;
  certPem: string | undefined;
  hasCaKey: boolean;
  hasServerKey: boolean;
  enabled: boolean;
  tokenSha256: string | undefined;
  /** Whether a run that was cut off left its lock or temporary files. */
  isUnfinished: boolean;
  /** Whether its configuration file sets `peer.insecure`. */
  peerInsecureSet: boolean;
  /** Roles of agent that run there, by the name of the subcommand. */
  roles: string[];
  /** Those of them whose executable was replaced since they started. */
  formerRoles: string[];
  /** Roles that `agent service` has installed there. */
  services: ServiceFacts[];
  serviceManager: "systemd" | "none";
}

export interface ServiceFacts {
  role: string;
  /** It should run, and does not. */
  down: boolean;
  /** The flags that it runs with; undefined if it does not run, or not exactly once. */
  args: string[] | undefined;
}

/**
 * A shell function that prints the roles that run, as lines `PID role=ROLE`, each followed by its flags
 * as `PID arg=ROLE FLAG`. Only those of this network namespace: a container with its own is another
 * host. `head` names the files, so that three programs read all processes.
 */
export const roleProcesses = `
role_processes() {
  net=$(readlink /proc/self/ns/net) known='' here=''
  head -c 4096 /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | awk '
    /^==> \\/proc\\/[0-9]+\\/cmdline <==$/ {
      split($2, part, "/"); pid = part[3]; role = last = ""; words = 0; next
    }
    $0 == "" { next }
    role != "" { print pid " arg=" role " " $0; next }
    # In an image: agent entrypoint ROLE.
    $0 == "entrypoint" && words == 1 && last ~ /(^|\\/)agent$/ { ++words; next }
    ++words <= 12 && last ~ /(^|\\/)(agent|main\\.ts)$/ && /^(node|worker|coordinator)$/ {
      role = $0
      print pid " role=" role
    }
    { last = $0 }' | while IFS=' ' read -r pid line; do
      if [ "$pid" != "$known" ]; then
        known=$pid here=no
        [ "$(readlink "/proc/$pid/ns/net" 2>/dev/null)" != "$net" ] || here=yes
      fi
      [ "$here" = no ] || printf '%s %s\\n' "$pid" "$line"
    done
}
`;

/** Sets uid, home, config and state, as `agent` finds them. */
export const stateFolders = `
uid=$(id -u) home=\${HOME:-/}
if [ "$uid" = 0 ]; then config=/etc/agent state=/var/lib/agent
else config=$home/.config/agent state=$home/.local/state/agent; fi
[ -z "\${XDG_CONFIG_HOME:-}" ] || config=$XDG_CONFIG_HOME/agent
[ -z "\${XDG_STATE_HOME:-}" ] || state=$XDG_STATE_HOME/agent
`;

/**
 * Shell functions for the SHA-256 of an executable of 100 MB. The script that installed it leaves in
 * the state folder which file that was, so that a file that has not changed since is not read again.
 */
export const executableSum = `
# openssl takes a fifth of the time where sha256sum has no code for the processor.
sum() {
  if command -v openssl >/dev/null; then openssl dgst -sha256 <"$1" | sed 's/.*= *//'
  elif command -v sha256sum >/dev/null; then sha256sum <"$1" | cut -d' ' -f1
  elif command -v shasum >/dev/null; then shasum -a 256 <"$1" | cut -d' ' -f1
  fi
}
# Every write and every replacement changes one of these.
mark() { stat -L -c '%i %d %s %z' "$1" 2>/dev/null; }
known_sum() {
  { read -r was && read -r its; } 2>/dev/null <"$state/executable.sum" || return
  [ -n "$was" ] && [ "$was" = "$(mark "$1")" ] && printf '%s\\n' "$its"
}
`;

/**
 * POSIX sh, for dash, bash, busybox and ksh. Prints `key=value` lines, and files between `key<` and
 * `key>`. Certificates are public; of the token only a hash is printed.
 */
export const preflightScript = `${roleProcesses}
PATH=$PATH:/usr/local/bin:/usr/sbin:/sbin${stateFolders}${executableSum}
say() { printf '%s=%s\\n' "$1" "$2"; }
show() { if [ -r "$2" ]; then printf '%s<\\n' "$1"; cat "$2"; printf '\\n%s>\\n' "$1"; fi; }
# Sets d to folder $1, or to the nearest one above that exists; free to the KiB that are free there, and
# options to those that its file system is mounted with.
space() {
  d=$1 options='' on=''
  while [ ! -d "$d" ]; do d=\${d%/*}; d=\${d:-/}; done
  read -r free on <<END
$(df -Pk "$d" 2>/dev/null | awk 'NR == 2 { print $4, $NF }')
END
  while read -r _ at _ has _; do [ "$at" != "$on" ] || options=$has; done 2>/dev/null </proc/mounts
}
mounted() { case ,$options, in *,$1,*) true ;; *) false ;; esac; }
user=$(id -un 2>/dev/null || id -u)
say uid "$uid"
say user "$user"
if [ "$uid" = 0 ]; then say root is
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then say root sudo
elif command -v doas >/dev/null && doas -n true 2>/dev/null; then say root doas
elif command -v sudo >/dev/null; then say root password
else say root none; fi
say os "$(uname -s)"
say arch "$(uname -m)"
if getconf GNU_LIBC_VERSION >/dev/null 2>&1; then say libc glibc
elif ls /lib/ld-musl-* >/dev/null 2>&1; then say libc musl
else say libc unknown; fi
say now "$(date +%s)"
say hostname "$(uname -n)"
say fqdn "$(hostname -f 2>/dev/null)"
if command -v ip >/dev/null; then
  ip -o addr show scope global 2>/dev/null | awk '{split($4,a,"/"); print "address="a[1]}'
else
  for a in $(hostname -I 2>/dev/null); do say address "$a"; done
fi
tr -d "\\"'" 2>/dev/null <"\${AGENT_CONFIG:-$config/config.yaml}" | awk '
  /^peer[ \t]*:/ || /^[{]/ { on = 1; if (/insecure[ \t]*:/) set = 1; next }
  /^[^ \t#]/ { on = 0 }
  on && /^[ \t]+insecure[ \t]*:/ { set = 1 }
  END { if (set) print "insecure=set" }'
tls=\${AGENT_TLS_DIR:-$config/tls}
# Beside the TLS directory, wherever it is: the token, and our lock.
config=\${tls%/*}
say config "$config"
for f in "$config"/.deploy.* "$config"/deploy.lock*; do
  if [ -e "$f" ] || [ -L "$f" ]; then say unfinished yes; break; fi
done
say tls "$tls"
d=\${tls%/*}; while [ ! -e "$d" ]; do d=\${d%/*}; d=\${d:-/}; done
above=$d
space "$tls"
if [ ! -d "$above" ]; then say unwritable "$above is not a folder"
elif mounted ro; then
  say unwritable "$d is on a file system that is mounted read-only"
  say readonly yes
elif [ ! -w "$above" ] || { [ -d "$tls" ] && [ ! -w "$tls" ]; }; then
  say unwritable "$above cannot be written by $user"
fi
say free "$free"
if [ "$uid" = 0 ]; then bin=/usr/local/bin; else bin=$home/.local/bin; fi
agent=$(command -v agent 2>/dev/null)
[ -n "$agent" ] || { [ -x "$bin/agent" ] && agent=$bin/agent; }
[ -z "$agent" ] || bin=\${agent%/*}
say bin "$bin"
space "$bin"
say binfree "$free"
[ -w "$d" ] || say binunwritable yes
mounted noexec && say noexec yes
if [ -n "$agent" ]; then
  say agent "$agent"
  if [ -n "$want_sum" ]; then
    found=$(known_sum "$agent" || sum "$agent")
    say sum "$found"
    # Starting it takes longer than all the rest.
    [ "$found" = "$want_sum" ] ||
      say version "$("$agent" version --json 2>/dev/null </dev/null | sed -n 's/.*"version": *"\\([^"]*\\)".*/\\1/p')"
  fi
fi
show ca "$tls/ca/ca.crt"
show cert "$tls/server.crt"
[ -e "$tls/ca/ca.key" ] && say cakey yes
[ -s "$tls/server.key" ] && say serverkey yes
grep -q '^enabled: *true' "$tls/config.yaml" 2>/dev/null && say enabled yes
[ -r "$config/token" ] && say token "$(sum "$config/token")"
role_processes | while IFS=' ' read -r pid line; do
  case $line in role=*)
    say role "\${line#role=}"
    case $(readlink "/proc/$pid/exe" 2>/dev/null) in
      *' (deleted)') say former "\${line#role=}" ;;
    esac ;;
  *) printf '%s\\n' "$line" ;;
  esac
done
manager=none
if command -v systemctl >/dev/null && [ -d /run/systemd/system ]; then manager=systemd; fi
say manager "$manager"
for r in node worker coordinator; do
  if [ "$manager" = none ]; then [ ! -e "$state/service/$r.json" ] || say service "$r"
  elif [ -e "/etc/systemd/system/agent-$r.service" ]; then
    say service "$r"
    ! systemctl is-failed --quiet "agent-$r.service" || say failed "$r"
  fi
done
say 'done' yes
`;

/** Reads what the script printed; undefined if its last line is missing. */
export function readFacts(output: string): Facts | undefined {
  const values = new Map<string, string[]>();
  const files = new Map<string, string>();
  let open: string | undefined;
  let lines: string[] = [];
  for (const line of output.split("\n")) {
    if (open !== undefined) {
      if (line === `${open}>`) {
        files.set(open, lines.join("\n").trim() + "\n");
        open = undefined;
      } else lines.push(line);
      continue;
    }
    const [, start] = /^(ca|cert)<$/.exec(line) ?? [];
    if (start !== undefined) [open, lines] = [start, []];
    const [, key, value] = /^([a-z]+)=(.*)$/.exec(line) ?? [];
    if (key !== undefined && value !== "") values.set(key, [...values.get(key) ?? [], value!]);
  }
  const one = (key: string) => values.get(key)?.[0];
  const count = (key: string) => /^\d+$/.test(one(key) ?? "") ? Number(one(key)) : undefined;
  const [configRoot, tlsRoot, bin] = ["config", "tls", "bin"].map(one);
  if (one("done") !== "yes" || !isPath(configRoot) || !isPath(tlsRoot) || !isPath(bin)) {
    return undefined;
  }
  const path = one("agent");
  const all = (key: string) => [...new Set(values.get(key) ?? [])];
  return {
    user: one("user") ?? "",
    uid: count("uid") ?? -1,
    root: (one("root") ?? "none") as Facts["root"],
    os: one("os") ?? "",
    arch: one("arch") ?? "",
    libc: (one("libc") ?? "unknown") as Facts["libc"],
    now: (count("now") ?? 0) * 1000,
    hostname: one("hostname") ?? "",
    fqdn: one("fqdn"),
    addresses: values.get("address") ?? [],
    configRoot,
    tlsRoot,
    unwritable: one("unwritable"),
    readOnly: one("readonly") === "yes",
    freeKiB: count("free"),
    binFreeKiB: count("binfree"),
    binUnwritable: one("binunwritable") === "yes",
    noexec: one("noexec") === "yes",
    agent: path === undefined ? undefined : { path, version: one("version"), sha256: one("sum") },
    bin,
    caPem: files.get("ca"),
    certPem: files.get("cert"),
    hasCaKey: one("cakey") === "yes",
    hasServerKey: one("serverkey") === "yes",
    enabled: one("enabled") === "yes",
    tokenSha256: one("token"),
    isUnfinished: one("unfinished") === "yes",
    peerInsecureSet: one("insecure") === "set",
    roles: all("role"),
    formerRoles: all("former"),
    services: all("service").map((role) => serviceFacts(role, values)),
    serviceManager: one("manager") === "systemd" ? "systemd" : "none",
  };
}

/** A service that was started directly is down if it does not run; systemd starts its own again. */
function serviceFacts(role: string, values: Map<string, string[]>): ServiceFacts {
  const runs = (values.get("role") ?? []).filter((running) => running === role).length;
  const args = (values.get("arg") ?? []).filter((arg) => arg.startsWith(`${role} `));
  const isDirect = values.get("manager")?.[0] !== "systemd";
  return {
    role,
    down: runs === 0 && (isDirect || values.get("failed")?.includes(role) === true),
    args: runs === 1 ? args.map((arg) => arg.slice(role.length + 1)) : undefined,
  };
}

function isPath(text: string | undefined): text is string {
  return text?.startsWith("/") === true;
}

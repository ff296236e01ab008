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
  /** Roles of agent that run there, by the name of the subcommand. */
  roles: string[];
  serviceManager: "systemd" | "none";
}

/**
 * POSIX sh, for dash, bash, busybox and ksh. Prints `key=value` lines, and files between `key<` and
 * `key>`. Certificates are public; of the token only a hash is printed.
 */
export const preflightScript = `
PATH=$PATH:/usr/local/bin:/usr/sbin:/sbin
say() { printf '%s=%s\\n' "$1" "$2"; }
show() { if [ -r "$2" ]; then printf '%s<\\n' "$1"; cat "$2"; printf '\\n%s>\\n' "$1"; fi; }
sum() {
  if command -v sha256sum >/dev/null; then sha256sum <"$1" | cut -d' ' -f1
  elif command -v shasum >/dev/null; then shasum -a 256 <"$1" | cut -d' ' -f1
  elif command -v openssl >/dev/null; then openssl dgst -sha256 <"$1" | sed 's/.*= *//'
  fi
}
free() { d=$1; while [ ! -d "$d" ]; do d=\${d%/*}; d=\${d:-/}; done; df -Pk "$d" 2>/dev/null | awk 'NR==2{print $4}'; }
say uid "$(id -u)"
say user "$(id -un 2>/dev/null || id -u)"
if [ "$(id -u)" = 0 ]; then say root is
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
home=\${HOME:-/}
if [ -n "\${XDG_CONFIG_HOME:-}" ]; then config=$XDG_CONFIG_HOME/agent
elif [ "$(id -u)" = 0 ]; then config=/etc/agent
else config=$home/.config/agent; fi
tls=\${AGENT_TLS_DIR:-$config/tls}
# Beside the TLS directory, wherever it is: the token, and our lock.
config=\${tls%/*}
say config "$config"
say tls "$tls"
d=\${tls%/*}; while [ ! -e "$d" ]; do d=\${d%/*}; d=\${d:-/}; done
if [ ! -d "$d" ]; then say unwritable "$d is not a folder"
elif [ ! -w "$d" ] || { [ -d "$tls" ] && [ ! -w "$tls" ]; }; then
  say unwritable "$d cannot be written by $(id -un 2>/dev/null || id -u)"
fi
say free "$(free "$tls")"
if [ "$(id -u)" = 0 ]; then bin=/usr/local/bin; else bin=$home/.local/bin; fi
agent=$(command -v agent 2>/dev/null)
[ -n "$agent" ] || { [ -x "$bin/agent" ] && agent=$bin/agent; }
[ -z "$agent" ] || bin=\${agent%/*}
say bin "$bin"
say binfree "$(free "$bin")"
d=$bin; while [ ! -d "$d" ]; do d=\${d%/*}; d=\${d:-/}; done
[ -w "$d" ] || say binunwritable yes
mount=$(df -P "$d" 2>/dev/null | awk 'NR==2{print $NF}')
awk -v m="$mount" '$2==m{o=$4} END{if (","o"," ~ /,noexec,/) print "noexec=yes"}' /proc/mounts 2>/dev/null
if [ -n "$agent" ]; then
  say agent "$agent"
  say version "$("$agent" version --json 2>/dev/null | sed -n 's/.*"version": *"\\([^"]*\\)".*/\\1/p')"
  if [ "$want_sum" = yes ]; then say sum "$(sum "$agent")"; fi
fi
show ca "$tls/ca/ca.crt"
show cert "$tls/server.crt"
[ -e "$tls/ca/ca.key" ] && say cakey yes
[ -s "$tls/server.key" ] && say serverkey yes
grep -q '^enabled: *true' "$tls/config.yaml" 2>/dev/null && say enabled yes
[ -r "$config/token" ] && say token "$(sum "$config/token")"
# Only in this network namespace: a container with its own is another host.
net=$(readlink /proc/self/ns/net)
for f in $(grep -lsE 'node|worker|coordinator' /proc/[0-9]*/cmdline 2>/dev/null); do
  p=\${f%/cmdline}
  [ "$(readlink "$p/ns/net" 2>/dev/null)" = "$net" ] || continue
  tr '\\0' '\\n' <"$p/cmdline" 2>/dev/null | awk '
    NR <= 12 && prev ~ /(^|\\/)(agent|main\\.ts)$/ && /^(node|worker|coordinator)$/ { print "role="$0 }
    { prev = $0 }'
done | sort -u
if command -v systemctl >/dev/null && [ -d /run/systemd/system ]; then say manager systemd; else say manager none; fi
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
    roles: values.get("role") ?? [],
    serviceManager: one("manager") === "systemd" ? "systemd" : "none",
  };
}

function isPath(text: string | undefined): text is string {
  return text?.startsWith("/") === true;
}

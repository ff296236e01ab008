/** The shell scripts that change a peer. Each cleans up after itself however it ends. */
import { executableSum, roleProcesses, stateFolders } from "./preflight.ts";

/**
 * The start of every script that changes state: a lock in the configuration folder, a private folder
 * for temporary files, and their removal when the script ends, also when the connection breaks (the
 * script then reads the end of its input, or gets SIGHUP or SIGPIPE).
 *
 * The lock is a symbolic link whose target names its owner: it is made together with its content, or
 * not at all. An owner is gone if its process is, if the host was restarted since then, or after ten
 * minutes: no script that takes the lock runs that long. What it left may be removed only by the one
 * who makes the link `deploy.lock.of.OWNER`. Otherwise two scripts could find the same stale lock, and
 * the slower one would remove the lock that the faster one has taken meanwhile. That link is stale
 * like the lock itself if the script that made it is gone.
 */
const prologue = `
PATH=$PATH:/usr/local/bin:/usr/sbin:/sbin
umask 077
lock=$config/deploy.lock work='' me=''
boot=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null || echo none)
mkdir -p "$config" || exit 73
drop() { [ "$(readlink "$1" 2>/dev/null)" != "$2" ] || rm -f "$1"; }
cleanup() {
  [ -z "$work" ] || rm -rf "$work"
  [ -z "$me" ] || drop "$lock" "$me"
}
trap cleanup EXIT
trap 'exit 71' HUP INT TERM PIPE
tries=0
while [ -z "$me" ]; do
  tries=$((tries + 1))
  [ $tries -le 20 ] || { echo "the lock $lock cannot be taken" >&2; exit 75; }
  mine="$$ $boot $(date +%s) $by_host"
  at=$lock stale=''
  set --
  until ln -s "$mine" "$at" 2>/dev/null; do
    owner=$(readlink "$at") || continue 2
    [ -n "$stale" ] || stale=$owner
    read -r pid owner_boot since by <<END
$owner
END
    if [ "$owner_boot" = "$boot" ] && kill -0 "$pid" 2>/dev/null && [ $(($(date +%s) - since)) -lt 600 ]; then
      # The script of a run that was cut off needs a moment to notice.
      [ $tries -gt 10 ] || { sleep 1; continue 2; }
      echo "another deploy, from $by, works on it" >&2
      exit 75
    fi
    at=$lock.of.$pid.$since
    set -- "$@" "$at"
  done
  [ "$at" != "$lock" ] || { me=$mine; continue; }
  drop "$lock" "$stale"
  rm -f "$@"
done
rm -rf "$config"/.deploy.*
work=$(mktemp -d "$config/.deploy.XXXXXX") || exit 73
# Reads the next N bytes of standard input into a file.
take() { dd bs=1 count="$1" of="$2" 2>/dev/null; [ "$(wc -c <"$2")" -eq "$1" ] || exit 71; }
# New files belong to the owner of the folder, also if root writes them.
owner=''
[ "$(id -u)" != 0 ] || owner=$(stat -c %u:%g "$config" 2>/dev/null || echo 0:0)
own() { [ -z "$owner" ] || chown "$owner" "$@"; }
`;

const takeToken = `
if [ "$token_bytes" -gt 0 ]; then
  take "$token_bytes" "$work/token" && own "$work/token" && mv -f "$work/token" "$config/token"
fi
`;

/**
 * With `agent` on the peer: it makes its key, the CA holder signs, it installs the answer. The key
 * never leaves the peer. The exchange: the script prints the request, then reads one line with three
 * lengths, and then certificate, CA and token.
 *
 * After a renewal of the CA the peer trusts the new one first and keeps the previous one, so that it
 * never refuses hosts that still have a certificate of the previous CA.
 *
 * Variables: config, tls, agent, by_host, force, ca_renewed, hostname.
 */
export const requestScript = `${prologue}
# In a separate folder: the key is installed only together with its certificate.
mkdir "$work/tls" || exit 73
AGENT_TLS_DIR=$work/tls "$agent" tls request -o "$work/server.csr" \${hostname:+--hostname "$hostname"} </dev/null >/dev/null || exit 70
echo 'csr<'
cat "$work/server.csr"
echo 'csr>'
read -r cert_bytes ca_bytes token_bytes || exit 71
take "$cert_bytes" "$work/server.crt"
take "$ca_bytes" "$work/ca.crt"
[ -z "$ca_renewed" ] || "$agent" tls install --ca "$work/ca.crt" </dev/null >/dev/null || exit 70
"$agent" tls install --cert "$work/server.crt" --key "$work/tls/server.key.next" --ca "$work/ca.crt" \${force:+--force} </dev/null >/dev/null || exit 70
${takeToken}
echo 'installed'
`;

/**
 * Without `agent`: all files are made by the CA holder, also the key. They are written into the
 * private folder and moved into place one by one. The old certificate is removed before the key is
 * replaced: an interrupted run leaves no pair that does not match, and the next run sees that the
 * certificate is missing.
 *
 * Variables: config, tls, by_host, and the lengths key_bytes, cert_bytes, ca_bytes,
 * bundle_bytes, yaml_bytes, token_bytes.
 */
export const filesScript = `${prologue}
take "$key_bytes" "$work/server.key"
take "$cert_bytes" "$work/server.crt"
take "$ca_bytes" "$work/ca.crt"
take "$bundle_bytes" "$work/bundle.crt"
take "$yaml_bytes" "$work/config.yaml"
mkdir -p "$tls" "$tls/ca" "$tls/trusted" || exit 73
own "$tls" "$tls/ca" "$tls/trusted" "$work"/*
chmod 0644 "$work"/*.crt "$work/config.yaml"
if [ -n "$force" ]; then
  # A CA that was made there by mistake can be brought back.
  [ ! -e "$tls/ca/ca.key" ] || mv -f "$tls/ca/ca.key" "$tls/ca/former-$(date +%s).key" || exit 73
  rm -f "$tls/trusted"/*.crt
fi
rm -f "$tls/server.crt"
mv -f "$work/ca.crt" "$tls/ca/ca.crt" && mv -f "$work/bundle.crt" "$tls/ca-bundle.crt" &&
  mv -f "$work/server.key" "$tls/server.key" && mv -f "$work/server.crt" "$tls/server.crt" &&
  mv -f "$work/config.yaml" "$tls/config.yaml" || exit 73
${takeToken}
echo 'installed'
`;

/**
 * Turns TLS on for gRPC in the configuration file, which does not say. Variables: config, agent,
 * by_host.
 */
export const settingsScript = `${prologue}
"$agent" config set peer.insecure false </dev/null >/dev/null || exit 70
[ ! -e "$config/config.yaml" ] || own "$config/config.yaml"
echo 'installed'
`;

/**
 * The settings of the roles that run here, with the flags and variables that they run with.
 * Variables: agent, roles.
 */
export const settingsOfRolesScript = `${roleProcesses}
PATH=$PATH:/usr/local/bin:/usr/sbin:/sbin
for role in $roles; do
  for pid in $(role_processes | sed -n "s/ role=$role\$//p"); do
    p=/proc/$pid
    settings=$(
      while IFS= read -r v; do [ -z "$v" ] || export "$v"; done <<END
$(tr '\\0' '\\n' 2>/dev/null <"$p/environ" | grep -E '^(AGENT_[A-Z_]+|HOME|XDG_[A-Z]+_HOME)=')
END
      while IFS= read -r a; do [ -z "$a" ] || set -- "$@" "$a"; done <<END
$(tr '\\0' '\\n' <"$p/cmdline" | awk -v role="$role" 'found; $0 == role { found = 1 }')
END
      "$agent" config show --json "$@" </dev/null 2>/dev/null
    ) || continue
    printf '%s<\\n%s\\n%s>\\n' "$role" "$settings" "$role"
    break
  done
done
`;

/** What a run that was cut off left is removed by every script. Variables: config, by_host. */
export const cleanupScript = `${prologue}
echo 'installed'
`;

/** The token alone. Variables: config, by_host, token_bytes. */
export const tokenScript = `${prologue}${takeToken}
echo 'installed'
`;

/**
 * The executable, from the rest of standard input. The previous one is kept beside it as
 * \`agent.previous\`. Variables: bin, sha256.
 */
export const executableScript = `
PATH=$PATH:/usr/local/bin:/usr/sbin:/sbin${stateFolders}${executableSum}
umask 022
mkdir -p "$bin" || exit 73
new=$bin/.agent.new.$$
trap 'rm -f "$new"' EXIT
trap 'exit 71' HUP INT TERM PIPE
rm -f "$bin"/.agent.new.*
cat >"$new" || exit 73
got=$(sum "$new")
[ "$got" = "$sha256" ] || { echo "it arrived damaged: SHA-256 is $got, not $sha256" >&2; exit 71; }
chmod 0755 "$new" || exit 73
"$new" version >/dev/null || { echo "it does not run there" >&2; exit 70; }
[ ! -e "$bin/agent" ] || ln -f "$bin/agent" "$bin/agent.previous" || exit 73
its=$(mark "$new")
mv -f "$new" "$bin/agent" || exit 73
# Without it the next run only takes longer. Of another run's file it must say nothing.
now=$(mark "$bin/agent")
[ -z "$now" ] || [ "\${its%% *}" != "\${now%% *}" ] ||
  (umask 077 && mkdir -p "$state" && printf '%s\\n%s\\n' "$now" "$got" >"$state/executable.sum") 2>/dev/null
echo 'installed'
`;

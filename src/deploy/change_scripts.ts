/** The shell scripts that change a peer. Each cleans up after itself however it ends. */

/**
 * The start of every script that changes state: a lock in the configuration folder, a private folder
 * for temporary files, and their removal when the script ends, also when the connection breaks (the
 * script then reads the end of its input, or gets SIGHUP or SIGPIPE).
 *
 * The lock names its owner. A lock is stale if its process is gone, if the host was restarted since
 * then, or after ten minutes: no script that takes the lock runs that long.
 */
const prologue = `
PATH=$PATH:/usr/local/bin:/usr/sbin:/sbin
umask 077
lock=$config/deploy.lock work=''
boot=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null || echo none)
mkdir -p "$config" || exit 73
cleanup() {
  [ -z "$work" ] || rm -rf "$work"
  rm -rf "$lock"
}
tries=0
until mkdir "$lock" 2>/dev/null; do
  tries=$((tries + 1))
  [ $tries -le 6 ] || { echo "the lock $lock cannot be taken" >&2; exit 75; }
  if { read -r pid owner_boot since by <"$lock/owner"; } 2>/dev/null; then
    now=$(date +%s)
    if [ "$owner_boot" = "$boot" ] && kill -0 "$pid" 2>/dev/null && [ $((now - since)) -lt 600 ]; then
      echo "another deploy, from $by, works on it" >&2
      exit 75
    fi
  elif [ $tries -le 3 ]; then
    # Its owner has not written its name yet; after three seconds it never will.
    sleep 1
    continue
  fi
  rm -rf "$lock"
done
trap cleanup EXIT
trap 'exit 71' HUP INT TERM PIPE
echo "$$ $boot $(date +%s) $by_host" >"$lock/owner"
rm -rf "$config"/.deploy.*
work=$(mktemp -d "$config/.deploy.XXXXXX") || exit 73
# Reads the next N bytes of standard input into a file.
take() { dd bs=1 count="$1" of="$2" 2>/dev/null; [ "$(wc -c <"$2")" -eq "$1" ] || exit 71; }
# New files belong to the owner of the folder, also if root writes them.
own() { [ "$(id -u)" != 0 ] || chown "$(stat -c %u:%g "$config" 2>/dev/null || echo 0:0)" "$1"; }
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
for f in "$tls" "$tls/ca" "$tls/trusted" "$work"/*; do own "$f"; done
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

/** The token alone. Variables: config, by_host, token_bytes. */
export const tokenScript = `${prologue}${takeToken}
echo 'installed'
`;

/**
 * The executable, from the rest of standard input. The previous one is kept beside it as
 * \`agent.previous\`. Variables: bin, sha256.
 */
export const executableScript = `
PATH=$PATH:/usr/local/bin:/usr/sbin:/sbin
umask 022
mkdir -p "$bin" || exit 73
new=$bin/.agent.new.$$
trap 'rm -f "$new"' EXIT
trap 'exit 71' HUP INT TERM PIPE
rm -f "$bin"/.agent.new.*
cat >"$new" || exit 73
if command -v sha256sum >/dev/null; then got=$(sha256sum <"$new" | cut -d' ' -f1)
elif command -v shasum >/dev/null; then got=$(shasum -a 256 <"$new" | cut -d' ' -f1)
else got=$(openssl dgst -sha256 <"$new" | sed 's/.*= *//'); fi
[ "$got" = "$sha256" ] || { echo "it arrived damaged: SHA-256 is $got, not $sha256" >&2; exit 71; }
chmod 0755 "$new" || exit 73
"$new" version >/dev/null || { echo "it does not run there" >&2; exit 70; }
[ ! -e "$bin/agent" ] || ln -f "$bin/agent" "$bin/agent.previous" || exit 73
mv -f "$new" "$bin/agent" || exit 73
echo 'installed'
`;

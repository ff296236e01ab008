# shellcheck shell=sh
# Sets `deno` to a Deno that is new enough, with the packages of deno.lock at hand: the one on PATH,
# else one that is fetched, once, into the user's cache. The caller sets `root`, and may set
# `deno_least` (the oldest that will do) or `deno_exact` (the only one that will).
# shellcheck disable=SC2154 # root is the caller's

deno_pinned=2.9.6 # what is fetched
# Explained in src/base/self.ts.
v8_flags=--max-semi-space-size=1,--no-incremental-marking,--no-concurrent-array-buffer-sweeping
: "${deno_least:=2.7.14}" "${deno_exact:=}"

cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}
packages=${DENO_DIR:-$cache/deno}

# Many networks re-sign TLS with a CA that only the system's store holds.
export DENO_TLS_CA_STORE="${DENO_TLS_CA_STORE:-system,mozilla}" DENO_NO_UPDATE_CHECK=1

# What was set up before is told by a stamp, one for each state of deno.lock and of the flags: which
# Deno was chosen, out of which on PATH, and where the packages are. A start that finds it needs no
# network.
state=$(printf '%s %s' "$(cksum <"$root/deno.lock")" "$v8_flags" | cksum | tr ' ' -)
stamp=$cache/agent/ready-${deno_exact:+exactly-}${deno_exact:-$deno_least}-$state
found=$(command -v deno || true)
deno='' stamped_found='' stamped_packages=''
if [ -f "$stamp" ]; then
  { read -r deno && read -r stamped_found && read -r stamped_packages; } <"$stamp" || true
fi
# shellcheck disable=SC3013 # -nt: in POSIX since 2024, in every shell for much longer
if [ ! -x "$deno" ] || [ "$stamped_found" != "path:$found" ] ||
  [ "$stamped_packages" != "$packages" ] || [ ! -d "$packages/npm" ] || [ "$deno" -nt "$stamp" ]; then
  # shellcheck source=scripts/fetch_deno.sh
  . "$root/scripts/fetch_deno.sh"
fi

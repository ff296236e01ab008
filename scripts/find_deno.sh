# shellcheck shell=sh
# Sets `deno` to a Deno that is new enough, with the packages of deno.lock in its cache: the one on
# PATH, else one that is fetched once into the user's cache. The caller sets `root`, and may set
# `deno_least` (the oldest acceptable version) or `deno_exact` (the only acceptable one).
# shellcheck disable=SC2154 # the caller sets root

deno_pinned=2.9.6 # what is fetched
# Explained in src/base/self.ts.
v8_flags=--max-semi-space-size=1,--no-incremental-marking,--no-concurrent-array-buffer-sweeping,--expose-gc
: "${deno_least:=2.7.14}" "${deno_exact:=}"

cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}
packages=${DENO_DIR:-$cache/deno}

# Many networks re-sign TLS with a CA that is only in the system's store.
export DENO_TLS_CA_STORE="${DENO_TLS_CA_STORE:-system,mozilla}" DENO_NO_UPDATE_CHECK=1

# A stamp file records an earlier set-up, one for each state of deno.lock and of the flags: the
# chosen Deno, the one on PATH at that time, and the folder of the packages. A start that finds its
# stamp needs no network.
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

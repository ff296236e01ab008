# shellcheck shell=sh
# The first start, included by find_deno.sh: chooses or fetches Deno, then the packages, and writes
# the stamp. Downloads get their final name by one rename, so that an interrupted start, or two at
# the same time, leave nothing incomplete.
# shellcheck disable=SC2154 # the caller sets root, cache, packages, found, stamp, v8_flags, deno_*

say() { printf 'agent: %s\n' "$*" >&2; }

fail() {
  say "$1"
  shift
  for line; do [ -z "$line" ] || printf '  %s\n' "$line" >&2; done
  exit 1
}

# True if the text of `deno --version` is from a release that is new enough.
will_do() {
  version=${1#deno }
  version=${version%%[!0-9.]*}
  case $version in *.*.*) ;; *) return 1 ;; esac
  [ -z "$deno_exact" ] || { [ "$version" = "$deno_exact" ] && return 0 || return 1; }
  minor=${version#*.} least_minor=${deno_least#*.}
  for pair in "${version%%.*}:${deno_least%%.*}" "${minor%%.*}:${least_minor%%.*}" \
    "${minor#*.}:${least_minor#*.}"; do
    [ "${pair%:*}" -gt "${pair#*:}" ] && return 0
    [ "${pair%:*}" -eq "${pair#*:}" ] || return 1
  done
}

# True if this Deno's V8 knows our flags; with an unknown flag nothing starts.
takes_flags() { "$1" eval --v8-flags="$v8_flags" '' >/dev/null 2>&1; }

# Runs a command with its output on stderr, and reports every 5 s that it is still running.
with_progress() {
  (
    waited=0
    while sleep 5 >/dev/null 2>&1; do
      waited=$((waited + 5))
      say "still fetching, $waited s"
    done
  ) &
  ticker=$!
  status=0
  "$@" >&2 || status=$?
  stop_ticker
  return "$status"
}

stop_ticker() {
  [ -n "$ticker" ] || return 0
  # A shell that was just forked may lose a TERM; waiting for it would never end.
  kill -KILL "$ticker" 2>/dev/null || true
  wait "$ticker" 2>/dev/null || true
  ticker=''
}

by_npm() {
  npm install --prefix "$work" --no-save --no-package-lock --include=optional --ignore-scripts \
    --no-audit --no-fund --no-update-notifier --loglevel=error \
    --fetch-retries=1 --fetch-retry-mintimeout=1000 "deno@$wanted"
}

by_pip() {
  PIP_ROOT_USER_ACTION=ignore "$@" install --target "$work" --no-deps --no-compile \
    --disable-pip-version-check --retries 1 --quiet "deno==$wanted"
}

# The executable that npm or pip placed below the working folder.
fetched_deno() {
  for candidate in "$work"/node_modules/@deno/*/deno "$work"/bin/deno; do
    if [ -f "$candidate" ] && "$candidate" --version >/dev/null 2>&1; then
      printf '%s\n' "$candidate"
      return 0
    fi
  done
  return 1
}

clean_up() {
  stop_ticker
  [ -z "$work" ] || rm -rf "$work"
}

# Fetches Deno to `own` with the first of npm and pip that works.
fetch_deno() {
  tried=''
  for way in npm pip3 pip "python3 -m pip"; do
    command -v "${way%% *}" >/dev/null 2>&1 || continue
    case "$tried" in *pip*) continue ;; esac # the same registry has failed already
    rm -rf "$work" && mkdir -p "$work"
    say "fetching Deno $wanted by $way (about 45 MB, once) into $cache/agent"
    # shellcheck disable=SC2086 # "python3 -m pip" is three words
    case $way in
      npm) with_progress by_npm ;;
      *) with_progress by_pip $way ;;
    esac && candidate=$(fetched_deno) && {
      chmod 755 "$candidate"
      mkdir -p "${own%/*}"
      mv -f "$candidate" "$own"
      rm -rf "$work"
      return 0
    }
    say "$way could not fetch it"
    tried="$tried${tried:+, }$way"
  done
  acceptable="Deno $deno_least or newer"
  [ -z "$deno_exact" ] || acceptable="Deno $deno_exact"
  if [ -z "$tried" ]; then
    fail "Found no $acceptable, and neither npm nor pip to fetch it with" \
      "${found:+$found is another version}" \
      "Install Deno (https://deno.com), npm or pip, and try again"
  fi
  fail "Could not fetch Deno $wanted with $tried; see the messages above" \
    "Check the network, and the proxy and registry settings of ${tried%%,*}; then try again" \
    "Or install $acceptable another way and put it on PATH"
}

ticker='' work=''
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

mkdir -p "$cache/agent" || fail "Could not make the cache folder $cache/agent" \
  "Set XDG_CACHE_HOME to a writable folder"
wanted=${deno_exact:-$deno_pinned}
own=$cache/agent/deno-$wanted/deno
if [ -n "$found" ] && will_do "$("$found" --version 2>/dev/null || true)" && takes_flags "$found"; then
  deno=$found
else
  deno=$own
  work=$cache/agent/fetching.$$
  [ -x "$own" ] || fetch_deno
fi

say "fetching the packages of deno.lock (a few MB, once)"
with_progress "$deno" install --quiet --config "$root/deno.json" || fail \
  "Could not fetch the packages of deno.lock; Deno's message is above" \
  "Check the network; behind a proxy set HTTPS_PROXY, for another registry NPM_CONFIG_REGISTRY" \
  "Then try again"

printf '%s\npath:%s\n%s\n' "$deno" "$found" "$packages" >"$stamp.$$"
mv -f "$stamp.$$" "$stamp"
trap - EXIT INT TERM
clean_up

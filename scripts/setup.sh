# shellcheck shell=sh
# The first start, read by scripts/agent: finds or fetches Deno, then the packages, and leaves a
# stamp. Everything fetched appears under its final name by one rename, so that a start that is
# broken off, or two at once, leave nothing half.
# shellcheck disable=SC2154 # root, cache, packages, found, stamp, pinned, oldest_* are the caller's

# True for the text of `deno --version` of a release that is new enough.
new_enough() {
  version=${1#deno }
  version=${version%%[!0-9.]*}
  major=${version%%.*} rest=${version#*.}
  minor=${rest%%.*} patch=${rest#*.}
  case $major.$minor.$patch in *[!0-9.]* | .* | *..* | *.) return 1 ;; esac
  [ "$major" -gt "$oldest_major" ] && return 0
  [ "$major" -eq "$oldest_major" ] || return 1
  [ "$minor" -gt "$oldest_minor" ] && return 0
  [ "$minor" -eq "$oldest_minor" ] && [ "$patch" -ge "$oldest_patch" ]
}

# Runs a command with its output on stderr, and says every 5 s that it still runs.
with_progress() {
  (
    waited=0
    while sleep 5; do
      waited=$((waited + 5))
      say "still fetching, $waited s"
    done
  ) 2>&2 >/dev/null &
  ticker=$!
  status=0
  "$@" >&2 || status=$?
  kill "$ticker" 2>/dev/null || true
  wait "$ticker" 2>/dev/null || true
  ticker=''
  return "$status"
}

by_npm() {
  npm install --prefix "$work" --no-save --no-package-lock --ignore-scripts --no-audit --no-fund \
    --loglevel=error --fetch-retries=1 --fetch-retry-mintimeout=1000 "deno@$pinned"
}

by_pip() {
  "$@" install --target "$work" --no-deps --no-compile --disable-pip-version-check \
    --retries 1 --quiet "deno==$pinned"
}

# The executable that npm or pip has put somewhere below the working folder.
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
  [ -z "$ticker" ] || kill "$ticker" 2>/dev/null || true
  [ -z "$work" ] || rm -rf "$work"
}

# Fetches the pinned Deno with the first of npm and pip that can.
fetch_deno() {
  tried=''
  for way in npm pip3 pip "python3 -m pip"; do
    command -v "${way%% *}" >/dev/null 2>&1 || continue
    case "$tried" in *pip*) continue ;; esac # the same registry, already tried in vain
    rm -rf "$work" && mkdir -p "$work"
    say "fetching Deno $pinned by $way (about 45 MB, once) into $cache/agent"
    # shellcheck disable=SC2086 # "python3 -m pip" is three words
    case $way in
      npm) with_progress by_npm ;;
      *) with_progress by_pip $way ;;
    esac && candidate=$(fetched_deno) && {
      chmod 755 "$candidate"
      mkdir -p "${own%/*}"
      mv -f "$candidate" "$own"
      return 0
    }
    tried="$tried${tried:+, }$way"
  done
  if [ -z "$tried" ]; then
    fail "No Deno from $oldest_major.$oldest_minor.$oldest_patch on, and neither npm nor pip to fetch it with" \
      "${found:+The deno at $found is older.}" \
      "Install Deno (https://deno.com), or npm or pip, and start again"
  fi
  fail "Deno $pinned could not be fetched; tried: $tried (their messages are above)" \
    "Check the network, and the proxy and registry settings of ${tried%%,*}; then start again" \
    "Or install Deno from $oldest_major.$oldest_minor.$oldest_patch on by other means and put it on PATH"
}

ticker='' work=''
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

mkdir -p "$cache/agent" || fail "The cache folder $cache/agent cannot be made" \
  "Set XDG_CACHE_HOME to a folder that can be written"
own=$cache/agent/deno-$pinned/deno
if [ -n "$found" ] && new_enough "$("$found" --version 2>/dev/null || true)"; then
  deno=$found
else
  deno=$own
  work=$cache/agent/fetching.$$
  [ -x "$own" ] || fetch_deno
fi

say "fetching the packages of deno.lock (a few MB, once)"
with_progress "$deno" install --quiet --config "$root/deno.json" || fail \
  "The packages of deno.lock could not be fetched (Deno's message is above)" \
  "Check the network; behind a proxy set HTTPS_PROXY, for another registry NPM_CONFIG_REGISTRY" \
  "Then start again"

printf '%s\npath:%s\n%s\n' "$deno" "$found" "$packages" >"$stamp.$$"
mv -f "$stamp.$$" "$stamp"
clean_up
work=''
trap - EXIT INT TERM

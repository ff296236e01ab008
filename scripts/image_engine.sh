# shellcheck shell=sh
# How the image scripts use docker, podman or buildah. The caller sets `engine` and has `refuse`.

# Makes each of these variables 1 or empty. 0 is no, as everywhere: it must not bake a key.
read_switches() {
  for switch in "$@"; do
    eval "given=\${$switch:-}"
    # shellcheck disable=SC2154 # set by eval
    case $given in
      1 | true) eval "$switch=1" ;;
      '' | 0 | false) eval "$switch=" ;;
      *) refuse "$switch is \"$given\", and has to be 1 or 0" ;;
    esac
  done
}

# The engine that ENGINE names, else the first of the given ones that is on PATH and answers.
find_engine() {
  if [ -n "${ENGINE:-}" ]; then
    command -v "$ENGINE" >/dev/null || refuse "ENGINE is \"$ENGINE\", which is not on PATH"
    echo "$ENGINE"
    return
  fi
  for engine in "$@"; do
    command -v "$engine" >/dev/null || continue
    if [ "$engine" = docker ] && ! docker version >/dev/null 2>&1; then continue; fi
    echo "$engine"
    return
  done
  refuse "none of $* is here and answers; install one, or name it with ENGINE"
}

# engine_build TAG DOCKERFILE CONTEXT [OPTIONS…]
engine_build() {
  build_tag=$1 build_file=$2 build_context=$3
  shift 3
  # shellcheck disable=SC2086 # none, or several
  case $engine in
    # The OCI format has no HEALTHCHECK.
    buildah) buildah bud --format docker ${ENGINE_OPTIONS:-} "$@" -t "$build_tag" -f "$build_file" "$build_context" ;;
    podman) podman build --format docker ${ENGINE_OPTIONS:-} "$@" -t "$build_tag" -f "$build_file" "$build_context" ;;
    *) "$engine" build ${ENGINE_OPTIONS:-} "$@" -t "$build_tag" -f "$build_file" "$build_context" ;;
  esac
}

# The layers stay with the image that is built on them.
engine_untag() {
  case $engine in
    buildah) buildah rmi "$1" ;;
    *) "$engine" image rm --no-prune "$1" || "$engine" untag "$1" ;;
  esac >/dev/null 2>&1 || true
}

#!/bin/sh
# Installs agent for this user, or for all as root: sh install.sh [--dir FOLDER] [--from PLACE]
#
#   --dir FOLDER   where to put the executable; ~/.local/bin, or /usr/local/bin for root, otherwise
#   --from PLACE   a folder or an https:// address with the files of a release; the folder of this
#                  script otherwise
#
# The checksum is compared before anything is installed.
set -eu

fail() {
  printf 'install: %s\n' "$1" >&2
  exit 1
}

from=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
if [ "$(id -u)" = 0 ]; then dir=/usr/local/bin; else dir=$HOME/.local/bin; fi
while [ $# -gt 0 ]; do
  case $1 in
    --dir) dir=${2:?"--dir wants a folder"} && shift ;;
    --from) from=${2:?"--from wants a folder or an address"} && shift ;;
    -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" && exit ;;
    *) fail "unknown option \"$1\"" ;;
  esac
  shift
done

case $(uname -s) in
  Linux) system=linux ;;
  Darwin) system=macos ;;
  *) fail "there is no release for $(uname -s)" ;;
esac
case $(uname -m) in
  x86_64 | amd64) system=$system-x64 ;;
  aarch64 | arm64) system=$system-arm64 ;;
  *) fail "there is no release for $(uname -m)" ;;
esac
if ls /lib/ld-musl-* >/dev/null 2>&1 && ! getconf GNU_LIBC_VERSION >/dev/null 2>&1; then
  fail 'the C library here is musl, and agent needs glibc: run its container image here (docs/containers.md)'
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
get() {
  case $from in
    https://*)
      if command -v curl >/dev/null; then curl -fsSL "$from/$1" -o "$work/$1"
      else wget -q "$from/$1" -O "$work/$1"; fi
      ;;
    http://*) fail 'only https:// is taken' ;;
    *) cp "$from/$1" "$work/$1" ;;
  esac || fail "could not get $1 from $from"
}

get SHA256SUMS
archive=$(sed -n "s/^[0-9a-f]\{64\}  \(agent-.*-$system\.tar\.gz\)$/\1/p" "$work/SHA256SUMS" | head -n 1)
[ -n "$archive" ] || fail "this release has no archive for $system"
get "$archive"
wanted=$(sed -n "s/^\([0-9a-f]\{64\}\)  $archive$/\1/p" "$work/SHA256SUMS")
if command -v sha256sum >/dev/null; then got=$(sha256sum <"$work/$archive" | cut -d' ' -f1)
else got=$(shasum -a 256 <"$work/$archive" | cut -d' ' -f1); fi
[ "$got" = "$wanted" ] || fail "$archive is damaged: its SHA-256 is $got, not $wanted"

tar -xzf "$work/$archive" -C "$work"
mkdir -p "$dir"
# Replaced as a whole: a running agent keeps the file that it was started from.
cp "$work/${archive%.tar.gz}/agent" "$dir/.agent.new" && chmod 0755 "$dir/.agent.new"
"$dir/.agent.new" version >/dev/null || { rm -f "$dir/.agent.new" && fail 'the executable does not run here'; }
mv -f "$dir/.agent.new" "$dir/agent"
printf 'install: %s\n' "$("$dir/agent" version) is in $dir" >&2
case :$PATH: in
  *":$dir:"*) ;;
  *) printf "install: add it to PATH: export PATH=%s:\$PATH\n" "$dir" >&2 ;;
esac
printf 'install: next: agent tls init, or agent demo\n' >&2

# shellcheck shell=sh
# Sets up a host of hosts.ts, in its network namespace and a new mount and UTS namespace: makes its
# file system, starts its sshd, prints "up", and keeps running. Arguments: the host's name; a folder
# with `hosts`, `known_hosts`, the user's key `id` and the host's key `NAME`; and the paths that the
# host shares with this machine.
set -eu
name=$1 made=$2
shift 2

hostname "$name"
ip link set lo up

# Reads see this machine; writes stay in memory and disappear with the namespace.
new=$made/root-of-$name
mkdir "$new"
mount -t tmpfs tmpfs "$new"
mkdir "$new/upper" "$new/work" "$new/at"
mount -t overlay overlay -o "lowerdir=/,upperdir=$new/upper,workdir=$new/work" "$new/at"
cd "$new/at"
mount --rbind /proc proc
mount --rbind /sys sys
mount --rbind /dev dev
# Not shared with this machine: root's home, temporary files, the state of agent.
mkdir -p etc/agent var/lib/agent
for own in root tmp run etc/agent var/lib/agent; do mount -t tmpfs tmpfs "$own"; done
chmod 700 root etc/agent var/lib/agent
chmod 1777 tmp

for shared in "$@"; do
  if [ -d "$shared" ]; then mkdir -p ".$shared"; else mkdir -p ".${shared%/*}" && touch ".$shared"; fi
  mount --bind "$shared" ".$shared"
done

cp "$made/hosts" etc/hosts
rm -f etc/resolv.conf
touch etc/resolv.conf
echo "$name" >etc/hostname
mkdir -m 700 root/.ssh run/host
cp "$made/known_hosts" root/.ssh/known_hosts
cp "$made/id.pub" root/.ssh/authorized_keys
(umask 077 && cp "$made/id" root/.ssh/id_ed25519 && cp "$made/$name" run/host/key)
cat >run/host/sshd_config <<END
HostKey /run/host/key
PidFile none
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
UseDNS no
Subsystem sftp internal-sftp
END
mkdir -p run/sshd usr/local/bin
cp "$made/agent" usr/local/bin/agent
# The documents use sudo, which may not be installed.
if ! command -v sudo >/dev/null; then
  printf '#!/bin/sh\nexec "$@"\n' >usr/local/bin/sudo
  chmod +x usr/local/bin/sudo
fi

mkdir old
pivot_root . old
cd /
umount -l old
# Returns when sshd is listening.
"$(command -v sshd || echo /usr/sbin/sshd)" -f /run/host/sshd_config
echo up
exec sleep infinity

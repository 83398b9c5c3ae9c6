#!/bin/sh
# A small Linux sandbox for Python graders, for grading.python_runner (docs/decisions/0008):
#
#   unshare --user --map-root-user --mount --net --ipc --uts --pid --fork --kill-child -- \
#     sh judges/python_sandbox.sh PYTHON [DIRECTORY...]
#
# unshare gives it namespaces of its own: no network, no process of the machine. In them this script builds a root that
# holds nothing but system libraries, PYTHON's and the named DIRECTORIES (read-only, but for file systems that are mounted
# below one of them, which stay as they are: name none that has such), and an empty /tmp; moves into it
# for good (pivot_root), and gives up every capability before the first line of a grader runs. Needs util-linux and a
# kernel that lets the gateway's user make user namespaces. It does not limit memory over all processes of one run: a
# cgroup around the gateway, or a container, does.
set -eu

PATH=/usr/sbin:/usr/bin:/sbin:/bin
python=$1
shift
runner=$(dirname "$0")/python_runner.py
root=/mnt # hidden for this run only: the mount below is in our own namespace

mount -t tmpfs -o mode=755,size=64m tmpfs $root
cat "$runner" >$root/python_runner.py

for directory in /usr /bin /lib /lib64 "$@"; do
  if [ -L "$directory" ]; then
    cp -P "$directory" "$root$directory"
  elif [ -d "$directory" ]; then
    mkdir -p "$root$directory"
    mount --rbind "$directory" "$root$directory"
    mount -o remount,bind,ro,nosuid "$root$directory"
  fi
done

mkdir -p $root/proc $root/tmp $root/dev $root/old
# read-only: to the machine's root, /proc/sys would be writable even without a capability
mount -t proc -o ro,nosuid,nodev,noexec proc $root/proc
mount -t tmpfs -o mode=1777,size=1g,nosuid,nodev tmpfs $root/tmp
touch $root/dev/null
mount --bind /dev/null $root/dev/null
mount -o remount,bind,ro $root

cd $root
pivot_root . old
umount -l /old
cd /tmp

exec env -i PATH=/usr/bin:/bin HOME=/tmp LANG=C.UTF-8 \
  prlimit --nproc=256 setpriv --no-new-privs --bounding-set=-all --inh-caps=-all --ambient-caps=-all \
  "$python" -I /python_runner.py

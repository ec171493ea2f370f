#!/usr/bin/env bash
# `make lab` and `make test` in a clean clone on another Debian, whose Python is newer.
# tests/debian.sh 13 root: as root, who may install binutils and a compiler; tests/debian.sh 14 user: as somebody who may not.
# Debian 13 has Python 3.13, Debian 14 has 3.14. The system is made once for each, in debian-13-root and so on in the cache
# folder, with the host's apt and pip settings. Where that cannot be done, one line says why, and the exit status is 0.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
cache=${KLPTEACH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/klpteach}
release=${1:-13} who=${2:-root}
root=$cache/debian-$release-$who
case $release in 13) suite=trixie ;; 14) suite=forky ;; *) echo "usage: tests/debian.sh 13|14 root|user" >&2; exit 2 ;; esac
if [ "$who" = user ]; then home=/srv/reader; else home=/root; fi
packages=python3,python3-venv,make,git,ca-certificates

skip() { echo "SKIPPED, nothing was run on Debian $release: $*"; exit 0; }
[ "$(id -u)" -eq 0 ] || skip "making the system needs root. Try: sudo make test-debian"
command -v unshare >/dev/null || skip "unshare is missing. Try: apt-get install util-linux"

# What the host's apt is told about proxies and mirrors holds in there, too.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
apt_settings=$scratch/apt.conf
apt-config dump 2>/dev/null | grep -iE '^Acquire::(https?|Retries|Check)' >"$apt_settings" || true
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' 2>/dev/null | head -1 || true)

if [ ! -x "$root/usr/bin/python3" ]; then
    if command -v mmdebstrap >/dev/null; then
        make_root=(mmdebstrap --quiet --variant=minbase "--include=$packages" "--aptopt=$apt_settings")
    elif command -v debootstrap >/dev/null; then
        make_root=(debootstrap --variant=minbase "--include=$packages")
    else
        skip "no mmdebstrap and no debootstrap. Try: apt-get install mmdebstrap"
    fi
    echo "making Debian $release in $root (a minute) …"
    part=$root.part
    rm -rf "$part" && mkdir -p "$(dirname "$root")"
    "${make_root[@]}" $suite "$part" ${mirror:+"$mirror"} >"$root.log" 2>&1 ||
        skip "$(basename "${make_root[0]}") failed: $(tail -1 "$root.log")"
    mv "$part" "$root"
fi

# pip asks where the host's pip asks: its settings, the certificates, and the folders that the settings name.
cp "$apt_settings" "$root/etc/apt/apt.conf.d/90host"
cp -L /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/" 2>/dev/null || true
for from in /etc/pip.conf /etc/xdg/pip "$HOME/.config/pip" "$HOME/.pip"; do
    to=$root${from/#$HOME\//$home/}
    if [ -e "$from" ]; then rm -rf "$to" && mkdir -p "$(dirname "$to")" && cp -rL "$from" "$to"; fi
done
settings=$(python3 -m pip config list 2>/dev/null || true)
folders=$(grep -oE "(file://)?/[^' ,]+" <<<"$settings" | sed -E 's,^file://(.*)/[^/]+/?$,\1,' | sort -u || true)  # an index names files beside it

clone=$root$home/klpteach
rm -rf "$clone" && mkdir -p "$root$home"
printf '[safe]\n\tdirectory = *\n' >"$scratch/gitconfig"  # the repository may be another user's than root's
GIT_CONFIG_GLOBAL=$scratch/gitconfig git clone -q --no-hardlinks "$repository" "$clone"

as=()
if [ "$who" = user ]; then
    grep -q ^reader: "$root/etc/passwd" || echo "reader:x:1000:1000::$home:/bin/sh" >>"$root/etc/passwd"
    chown -R 1000:1000 "$root$home"
    as=(setpriv --reuid=1000 --regid=1000 --clear-groups)
fi

# The mounts are this process's own and end with it.
export root folders home
unshare --mount --pid --fork --kill-child bash -euc '
    mount -t proc proc "$root/proc"
    mkdir -p "$root/dev/shm" && mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
    for folder in $folders; do
        if [ -d "$folder" ]; then mkdir -p "$root$folder" && mount --bind -o ro "$folder" "$root$folder"; fi
    done
    unset VIRTUAL_ENV PYTHONPATH PYTHONHOME KLPTEACH_CACHE XDG_CACHE_HOME MAKEFLAGS MAKELEVEL
    exec env HOME="$home" PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
        chroot "$root" "$@" sh -c "cat /etc/debian_version && python3 --version && cd ~/klpteach && tests/lab_opens.sh && make test PYTEST_ARGS=\"\$PYTEST_ARGS\""
' sh "${as[@]}"

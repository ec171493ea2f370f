#!/usr/bin/env bash
# Install what some tests need from the distribution: binutils (GNU ld, readelf), also for the other machines, a compiler, cpio and xz;
# with "live" also QEMU; with "browser" Chromium and npm; with "debian" what makes a Debian.
# Never fails: without them the tests that want them are skipped, with the reason.
set -u
missing=()
command -v ld >/dev/null && command -v readelf >/dev/null || missing+=(binutils)
for machine in powerpc64le aarch64 s390x; do
    command -v $machine-linux-gnu-ld >/dev/null || missing+=(binutils-$machine-linux-gnu)
done
command -v gcc >/dev/null && echo 'int main(void){return 0;}' | gcc -static -x c -o /dev/null - 2>/dev/null || missing+=(gcc libc6-dev)
command -v cpio >/dev/null || missing+=(cpio)
command -v xz >/dev/null || missing+=(xz-utils)
if [ "${1:-}" = live ]; then
    command -v qemu-system-x86_64 >/dev/null || missing+=(qemu-system-x86)
fi
if [ "${1:-}" = browser ]; then
    command -v chromium >/dev/null || command -v chromium-browser >/dev/null || missing+=(chromium)
    command -v npm >/dev/null || missing+=(npm)
fi
if [ "${1:-}" = debian ]; then
    command -v mmdebstrap >/dev/null || command -v debootstrap >/dev/null || missing+=(mmdebstrap)
fi
[ ${#missing[@]} -eq 0 ] && exit 0
if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
    echo "Going on without ${missing[*]}: the tests that need them are skipped, and say so. To run them too: sudo apt-get install ${missing[*]}"
    exit 0
fi
echo "installing ${missing[*]}"
{ apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends "${missing[@]}"; } >/dev/null 2>&1 ||
    echo "could not install ${missing[*]}; the tests that need them are skipped"
exit 0

#!/bin/sh
# Puts a kernel and a small initramfs into a folder: vmlinuz and initrd.img, for amd64.
#
#   examples/vm/fetch.sh [FOLDER]        (default: the folder of this script)
#
# The kernel is Debian's for virtual machines, only downloaded and unpacked, never installed. The initramfs is made here, of
# busybox, the kernel's virtio modules and the file init beside this script. Needs Debian or Ubuntu with
# busybox-static and cpio; no root, if apt has its lists.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here}
mkdir -p "$out"
out=$(cd "$out" && pwd)

for tool in busybox cpio gzip dpkg apt-get apt-cache; do
  command -v $tool >/dev/null || { echo "fetch.sh: $tool is missing; apt install busybox-static cpio" >&2; exit 1; }
done
if ldd "$(command -v busybox)" >/dev/null 2>&1; then echo "fetch.sh: this busybox needs libraries; apt install busybox-static" >&2; exit 1; fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

if [ ! -s "$out/vmlinuz" ] || [ ! -d "$out/modules" ]; then
  # The package without a version in its name only names the newest one.
  newest() { apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*-cloud-amd64\)$/\1/p' | head -1; }
  kernel=$(newest)
  if [ -z "$kernel" ] && [ "$(id -u)" = 0 ]; then
    apt-get update -qq
    kernel=$(newest)
  fi
  [ -n "$kernel" ] || { echo "fetch.sh: apt knows no linux-image-cloud-amd64; run apt-get update (Ubuntu: use linux-image-virtual by hand)" >&2; exit 1; }
  apt-get download -qq "$kernel" 2>/dev/null || { [ "$(id -u)" = 0 ] && apt-get update -qq && apt-get download -qq "$kernel"; }
  dpkg -x ./*.deb unpacked
  rm -rf "$out/modules"
  mkdir "$out/modules"
  for m in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover net_failover virtio_net button evdev; do
    found=$(find unpacked/lib/modules -name "$m.ko" | head -1)
    [ -z "$found" ] || cp "$found" "$out/modules/" # what is not there is built in
  done
  cp unpacked/boot/vmlinuz-* "$out/vmlinuz"
fi

mkdir -p root/bin root/lib root/proc root/sys root/dev root/etc root/www
cp "$(command -v busybox)" root/bin/busybox
cp "$out"/modules/*.ko root/lib/
cp "$here/init" root/init
chmod 755 root/init
(cd root && find . | sort | cpio -o -H newc --quiet) | gzip -9 >initrd.img
mv initrd.img "$out/initrd.img"
echo "$out: vmlinuz and initrd.img are there"

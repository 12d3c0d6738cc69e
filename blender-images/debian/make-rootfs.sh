#!/bin/sh
# make-rootfs.sh FOLDER SUITE MIRROR: a Debian with Blender in FOLDER and its layer in FOLDER.tar. Needs root and
# debootstrap, no registry. Meant to be run in mount and process namespaces of its own, so that nothing stays mounted
# or running when it is cut off.
set -eu
here=$(dirname "$0")
root=$1
suite=$2
mirror=$3
debootstrap --variant=minbase "$suite" "$root" "$mirror"
mkdir "$root/tessera-build"
cp "$here/install.sh" "$here/packages.txt" "$root/tessera-build/"
mount -t proc proc "$root/proc"
chroot "$root" sh /tessera-build/install.sh
umount "$root/proc"
rm -rf "$root/tessera-build" "$root/etc/resolv.conf" "$root/etc/hostname" "$root/etc/apt/sources.list"
# What was unpacked keeps the time its package gave it (Python compares them with its compiled files); what was
# written during the build gets the time of the newest package.
newest=$(find "$root/usr/share/doc" -name 'changelog*' -type f -printf '%T@\n' | sort -n | tail -n 1)
newest=${newest%.*}
echo "packing the layer"
tar --create --file "$root.tar" --directory "$root" --sort=name --numeric-owner --clamp-mtime --mtime="@$newest" \
  --format=gnu --one-file-system --exclude=./dev/* --exclude=./proc/* --exclude=./sys/* .
echo "TESSERA-NEWEST $newest"

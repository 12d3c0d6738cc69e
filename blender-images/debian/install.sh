#!/bin/sh
# Runs inside the new system (chroot, or a RUN of the Dockerfile): the packages, and nothing that differs from one
# build to the next, so that the same package versions give the same image on every machine.
set -eu
here=$(dirname "$0")
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
apt-get update
xargs -a "$here/packages.txt" apt-get install -y --no-install-recommends
apt-get clean
# Where this was built, when, and what was printed meanwhile.
rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/cache/ldconfig /var/cache/fontconfig \
  /var/cache/man /var/log/* /var/lib/dpkg/*-old /var/lib/systemd/catalog/database /var/lib/dbus/machine-id \
  /etc/machine-id /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /tmp/* /var/tmp/* /root/.cache
# Days since 1970 on which each account was made.
sed -i -E 's/^([^:]*:[^:]*:)[0-9]+:/\120000:/' /etc/shadow
blender --version

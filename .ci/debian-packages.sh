#!/usr/bin/env bash
# Installs the Debian packages that the tests need beside Python. Add a name here, and nowhere else.
set -euo pipefail

# The firmware's encoder and monitor in C: for this machine with two compilers, for Arm's microcontrollers, and an
# emulator of one.
packages=(gcc g++ clang gcc-arm-none-eabi qemu-system-arm)

missing=()
for package in "${packages[@]}"; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
fi

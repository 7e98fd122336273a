#!/usr/bin/env bash
# socat gives a program that knows no proxy a socket that leads through one; here the program is curl.
# What the cases are, and what each script is given: tests/all/matrix/mod.rs.
set -euo pipefail
socket=$WORK/socket
proxy=${PROXY#http://}
# A socket to one target, for as long as the script runs.
forward() { # HOST:PORT
    rm -f "$socket"
    socat "UNIX-LISTEN:$socket,fork" "PROXY:${proxy%:*}:$1,proxyport=${proxy##*:}" 2>/dev/null &
    trap "kill $!" EXIT
    for _ in {1..200}; do
        if [ -S "$socket" ]; then return; fi
        sleep 0.05
    done
    echo 'socat does not listen' >&2 && return 1
}
ask() { curl -q -sS --max-time 60 --unix-socket "$socket" --cacert "$CA" "$@"; }
case $1 in
    version) socat -V | sed -n 's/^socat version \([^ ]*\).*/\1/p' ;;
    prepare) ;;
    get | down | six) forward "$NAME:$PORT" && ask --http1.1 -o "$OUT" "$URL" ;;
    literal) forward "[::1]:$PORT" && ask --http1.1 -o "$OUT" "$URL" ;;
    http2) forward "$NAME:$PORT" && ask --http2 -o "$OUT" "$URL" ;;
    up) forward "$NAME:$PORT" && ask -T "$IN" "$URL" ;;
    keep-alive) forward "$NAME:$PORT" && ask -o "$OUT" "$URL" -o "$OUT" "$URL" ;;
    events) forward "$NAME:$PORT" && ask -N "$URL" ;;
    websocket) echo 'what runs behind it decides' && exit 77 ;;
    refused)
        # What is refused inside the tunnel is for the program behind it to tell.
        if [ "$NAME" = 127.0.0.1 ]; then
            forward "$NAME:$PORT"
            ask "$URL"
            exit
        fi
        # Without the time and its process.
        socat STDIO "PROXY:${proxy%:*}:$NAME:$PORT,proxyport=${proxy##*:}" 2>&1 | sed 's/^.*socat\[[0-9]*\] //'
        ;;
esac

#!/usr/bin/env bash
# curl. What the cases are, and what each script is given: tests/all/matrix/mod.rs.
set -euo pipefail
ask() { curl -q -sS --max-time 60 -x "$PROXY" --cacert "$CA" "$@"; }
case $1 in
    version) curl --version | sed -n '1s/^curl \([^ ]*\).*/\1/p' ;;
    prepare) ;;
    get | down | six | literal) ask --http1.1 -o "$OUT" "$URL" ;;
    http2) ask --http2 -o "$OUT" "$URL" ;;
    up) ask -T "$IN" "$URL" ;;
    keep-alive) ask -o "$OUT" "$URL" -o "$OUT" "$URL" ;;
    events) ask -N "$URL" ;;
    websocket) echo 'Debian builds it without WebSocket' && exit 77 ;;
    refused) ask "$URL" ;;
esac

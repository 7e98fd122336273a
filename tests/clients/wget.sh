#!/usr/bin/env bash
# Wget. What the cases are, and what each script is given: tests/all/matrix/mod.rs.
set -euo pipefail
ask() { wget --no-config -nv -t 1 -T 60 -e use_proxy=yes -e https_proxy="$PROXY" --ca-certificate="$CA" "$@"; }
case $1 in
    version) wget --version | sed -n '1s/^GNU Wget \([^ ]*\).*/\1/p' ;;
    prepare) ;;
    get | down | six) ask -O "$OUT" "$URL" ;;
    literal)
        ask -O "$OUT" "$URL" || {
            echo 'asks for `::1:443` without brackets, which is malformed'
            exit 77
        }
        ;;
    http2) echo 'HTTP/1.1 alone' && exit 77 ;;
    up) ask -O - --method=PUT --body-file="$IN" "$URL" ;;
    # Both go into one file.
    keep-alive) ask -O "$WORK/both" "$URL" "$URL" && tail -c "$(($(stat -c %s "$WORK/both") / 2))" "$WORK/both" >"$OUT" ;;
    events) ask -O - "$URL" ;;
    websocket) echo 'no WebSocket' && exit 77 ;;
    refused) ask -O - "$URL" ;;
esac

#!/usr/bin/env bash
# OpenSSL's s_client, which is TLS and no more: the requests are typed. What the cases are, and what each script is given: tests/all/matrix/mod.rs.
set -euo pipefail
# PATH HEADERS…: one request behind the other; the last one ends the connection.
head_of() {
    printf '%s HTTP/1.1\r\nHost: %s\r\n' "$1" "$NAME"
    shift
    printf '%s\r\n' "$@" ''
}
tunnel() { openssl s_client -quiet -verify_return_error -CAfile "$CA" -proxy "${PROXY#http://}" -connect "$NAME:$PORT" "${name[@]}"; }
# What the hello says.
name=(-servername "$NAME")
# Addresses are no names.
if [ "$NAME" = 127.0.0.1 ]; then name=(-noservername); fi
close='Connection: close'
# What follows the head of an answer.
body() { sed '1,/^\r$/d'; }
path=/${URL#https://*/}
case $1 in
    version) openssl version | cut -d ' ' -f 2 ;;
    prepare) ;;
    get | down | six) head_of "GET $path" "$close" | tunnel | body >"$OUT" ;;
    literal)
        head_of "GET $path" "$close" | tunnel | body >"$OUT" || {
            echo 'asks for `::1:443` without brackets, which is malformed'
            exit 77
        }
        ;;
    http2) echo 'HTTP is typed by hand' && exit 77 ;;
    up) { head_of "PUT $path" "Content-Length: $(stat -c %s "$IN")" "$close" && cat "$IN"; } | tunnel ;;
    keep-alive) { head_of "GET $path" && head_of "GET $path" "$close"; } | tunnel | body | body >"$OUT" ;;
    events) head_of "GET $path" "$close" | tunnel ;;
    websocket) echo 'HTTP is typed by hand' && exit 77 ;;
    refused) head_of "GET $path" "$close" | tunnel ;;
esac

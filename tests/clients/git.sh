#!/usr/bin/env bash
# Git: one clone is two requests, a push is the upload. What the cases are, and what each script is given: tests/all/matrix/mod.rs.
set -euo pipefail
export GIT_CONFIG_NOSYSTEM=1
ask() { git -c http.proxy="$PROXY" -c http.sslCAInfo="$CA" -c user.name=tests -c user.email=tests@acme.test "$@"; }
copy=$WORK/copy
clone() { # REPOSITORY OPTION…
    rm -rf "$copy"
    ask "${@:2}" clone -q "$BASE/git/$1.git" "$copy"
    cp "$copy/file" "$OUT"
}
make() { # REPOSITORY FILE
    git init -q -b main "$WORK/$1"
    cp "$2" "$WORK/$1/file"
    ask -C "$WORK/$1" add file
    ask -C "$WORK/$1" commit -q -m 'a file'
    git clone -q --bare "$WORK/$1" "$WWW/git/$1.git"
    git -C "$WWW/git/$1.git" config http.receivepack true
}
case $1 in
    version) git --version | cut -d ' ' -f 3 ;;
    prepare) mkdir "$WWW/git" && make small "$WWW/small" && make large "$WWW/large" ;;
    get | six | literal | keep-alive) clone small -c http.version=HTTP/1.1 ;;
    http2) clone small -c http.version=HTTP/2 ;;
    down) clone large ;;
    up)
        git init -q --bare "$WWW/git/pushed.git"
        git -C "$WWW/git/pushed.git" config http.receivepack true
        ask -C "$WORK/large" push -q "$BASE/git/pushed.git" main
        git -C "$WWW/git/pushed.git" show main:file >"$UPLOADED"
        ;;
    events | websocket) echo 'it only fetches and pushes' && exit 77 ;;
    refused) ask clone -q "$URL" "$WORK/refused" ;;
esac

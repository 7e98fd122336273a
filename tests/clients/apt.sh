#!/usr/bin/env bash
# apt, with all its folders in a place of its own: a repository with two packages. What the cases are, and what each script is given:
# tests/all/matrix/mod.rs.
set -euo pipefail
place=$WORK/apt
# Read before anything else: what the machine's own settings say does not count.
export APT_CONFIG=$WORK/apt.conf
ask() {
    apt-get -q -o Acquire::https::Proxy="$PROXY" -o Acquire::https::CAInfo="$CA" -o Acquire::Retries=0 -o Acquire::Languages=none "$@"
}
update() { # REPOSITORY
    rm -rf "$place"
    mkdir -p "$place"/etc/apt/{apt.conf.d,preferences.d,sources.list.d,trusted.gpg.d} "$place"/var/lib/apt/lists/partial \
        "$place"/var/cache/apt/archives/partial
    : >"$place/status"
    printf '%s;\n' "Dir \"$place\"" "Dir::State::status \"$place/status\"" 'APT::Sandbox::User ""' >"$APT_CONFIG"
    echo "deb [trusted=yes] $1 ./" >"$place/etc/apt/sources.list"
    ask update
}
get() { # PACKAGE
    update "$BASE/apt"
    (cd "$place" && ask download "$1")
    dpkg-deb --fsys-tarfile "$place/$1"_1_all.deb | tar -xO ./file >"$OUT"
}
make() { # PACKAGE FILE
    local tree=$WORK/$1
    mkdir -p "$tree/DEBIAN" "$WWW/apt"
    cp "$2" "$tree/file"
    printf '%s\n' "Package: $1" 'Version: 1' 'Architecture: all' 'Maintainer: tests <tests@acme.test>' 'Description: a file' >"$tree/DEBIAN/control"
    local deb=$WWW/apt/$1_1_all.deb
    dpkg-deb -Znone --root-owner-group -b "$tree" "$deb" >/dev/null
    {
        cat "$tree/DEBIAN/control"
        printf '%s\n' "Filename: ./$1_1_all.deb" "Size: $(stat -c %s "$deb")" "SHA256: $(sha256sum "$deb" | cut -d ' ' -f 1)" ''
    } >>"$WWW/apt/Packages"
}
case $1 in
    version) APT_CONFIG='' apt-get --version | sed -n '1s/^apt \([^ ]*\).*/\1/p' ;;
    prepare) make small "$WWW/small" && make large "$WWW/large" ;;
    get | six | keep-alive) get small ;;
    literal)
        get small >&2 || {
            echo 'asks for `::1:443` without brackets, which is malformed'
            exit 77
        }
        ;;
    down) get large ;;
    http2) echo 'HTTP/1.1 alone' && exit 77 ;;
    up | events | websocket) echo 'it only installs' && exit 77 ;;
    refused) update "$URL" 2>&1 | grep '^W: Failed' ;;
esac

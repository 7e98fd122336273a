#!/usr/bin/env bash
# pip, of the Python that is `$1`: an index with two parcels. What the cases are, and what each script is given: tests/all/matrix/mod.rs.
set -euo pipefail
python=$TARGET/$1
shift
export PIP_CONFIG_FILE=/dev/null
parcels=$WORK/parcels
get() { # PARCEL INDEX OPTION…
    rm -rf "$parcels"
    "$python" -m pip --disable-pip-version-check --no-cache-dir --retries 0 --proxy "$PROXY" --cert "$CA" \
        install --quiet --no-compile --root-user-action ignore --index-url "$2" --target "$parcels" "${@:3}" "$1"
}
# A wheel is an archive with three notes in it.
make() { # PARCEL FILE
    "$python" - "$1" "$2" "$WWW/simple/$1" <<'PYTHON'
import os, sys, zipfile
name, file, folder = sys.argv[1:]
os.makedirs(folder)
wheel, notes = f"{name}-1-py3-none-any.whl", f"{name}-1.dist-info/"
with zipfile.ZipFile(f"{folder}/{wheel}", "w") as archive:
    archive.write(file, f"{name}_file")
    archive.writestr(notes + "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    archive.writestr(notes + "WHEEL", "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    archive.writestr(notes + "RECORD", f"{name}_file,,\n{notes}METADATA,,\n{notes}WHEEL,,\n{notes}RECORD,,\n")
with open(f"{folder}/index.html", "w") as index:
    index.write(f'<!DOCTYPE html><html><body><a href="{wheel}">{wheel}</a></body></html>')
PYTHON
}
case $1 in
    version) "$python" -m pip --version | cut -d ' ' -f 2 ;;
    prepare) make small "$WWW/small" && make large "$WWW/large" ;;
    literal)
        get small "$BASE/simple" || {
            echo 'asks for `::1:443` without brackets, which is malformed'
            exit 77
        }
        cp "$parcels/small_file" "$OUT"
        ;;
    get | six | keep-alive) get small "$BASE/simple" && cp "$parcels/small_file" "$OUT" ;;
    down) get large "$BASE/simple" && cp "$parcels/large_file" "$OUT" ;;
    http2) echo 'HTTP/1.1 alone' && exit 77 ;;
    up | events | websocket) echo 'it only installs' && exit 77 ;;
    # The reason stands in what it says before it tries again.
    refused) get small "$URL" --retries 1 ;;
esac

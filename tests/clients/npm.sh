#!/usr/bin/env bash
# npm: a registry with two parcels, and one that is published. What the cases are, and what each script is given: tests/all/matrix/mod.rs.
set -euo pipefail
export PATH="$TARGET/clients/node/bin:$PATH"
ask() {
    npm --userconfig "$WORK/npmrc" --globalconfig "$WORK/none" --cache "$WORK/cache" --https-proxy "$PROXY" --cafile "$CA" --registry "$REGISTRY" \
        --no-audit --no-fund --no-update-notifier --fetch-retries 0 --loglevel error "$@"
}
get() { # PARCEL
    rm -rf "$WORK/cache" "$WORK/parcels"
    mkdir "$WORK/parcels"
    ask --prefix "$WORK/parcels" install "$1" >/dev/null
    cp "$WORK/parcels/node_modules/$1/file" "$OUT"
}
make() { # PARCEL FILE
    mkdir -p "$WORK/$1" "$WWW/npm"
    cp "$2" "$WORK/$1/file"
    echo "{\"name\": \"$1\", \"version\": \"1.0.0\"}" >"$WORK/$1/package.json"
    (cd "$WORK/$1" && npm pack --silent --pack-destination "$WWW/npm" >/dev/null)
}
# What the registry says of a parcel names its own address, which differs from case to case.
list() { # PARCEL
    local hash
    hash=$(openssl dgst -sha512 -binary "$WWW/npm/$1-1.0.0.tgz" | base64 -w 0)
    echo "{\"name\": \"$1\", \"dist-tags\": {\"latest\": \"1.0.0\"}, \"versions\": {\"1.0.0\": {\"name\": \"$1\", \"version\": \"1.0.0\"," \
        "\"dist\": {\"tarball\": \"$BASE/npm/$1-1.0.0.tgz\", \"integrity\": \"sha512-$hash\"}}}}" >"$WWW/npm/$1"
}
REGISTRY=${BASE:-}/npm/
case $1 in
    version) npm --version ;;
    prepare) make small "$WWW/small" && make large "$WWW/large" ;;
    get | six | keep-alive) list small && get small ;;
    literal)
        list small
        get small || {
            echo 'finds no such address in the certificate'
            exit 77
        }
        ;;
    down) list large && get large ;;
    up)
        REGISTRY=$BASE/put/
        echo "//$NAME:$PORT/put/:_authToken=of-the-tests" >"$WORK/npmrc"
        (cd "$WORK/large" && ask publish --ignore-scripts >/dev/null)
        # What came is a note with the archive in it.
        "$TARGET/clients/node/bin/node" -e 'const note = JSON.parse(fs.readFileSync(process.argv[1]));
            process.stdout.write(Buffer.from(Object.values(note._attachments)[0].data, "base64"));' "$UPLOADED" |
            tar -xzO package/file >"$WORK/published"
        mv "$WORK/published" "$UPLOADED"
        ;;
    http2) echo 'HTTP/1.1 alone' && exit 77 ;;
    events | websocket) echo 'it only installs and publishes' && exit 77 ;;
    refused) REGISTRY=$URL && get small 2>&1 | grep -v 'complete log' ;;
esac

#!/usr/bin/env bash
# Node, with the variables that its own fetch goes by; the libraries are told in the program. `$1` is the library.
# What the cases are, and what each script is given: tests/all/matrix/mod.rs.
set -euo pipefail
export PATH="$TARGET/clients/node/bin:$PATH" NODE_EXTRA_CA_CERTS=${CA:-} NODE_NO_WARNINGS=1 MODULES=$TARGET/clients/node/modules/
if [ "$1" = fetch ]; then export NODE_USE_ENV_PROXY=1 HTTPS_PROXY=${PROXY:-}; fi
exec node "$SCRIPTS/node.mjs" "$@"

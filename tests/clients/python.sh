#!/usr/bin/env bash
# A library of the Python that is `$1`. What the cases are, and what each script is given: tests/all/matrix/mod.rs.
set -euo pipefail
exec "$TARGET/$1" "$SCRIPTS/python.py" "${@:2}"

#!/usr/bin/env bash
# Java: `$1` is the class. What the cases are, and what each script is given: tests/all/matrix/mod.rs.
set -euo pipefail
case $2 in
    version) javac --version | cut -d ' ' -f 2 ;;
    prepare) javac -d "$WORK" "$SCRIPTS/Clients.java" ;;
    *) exec java -cp "$WORK" Clients "$@" ;;
esac

#!/bin/sh
# Installs what is missing at the versions of the lockfile, then runs a command with Node 24 first on PATH.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
. "$root/scripts/deps.sh"
ensure_deps all
PATH="$root/node_modules/.bin:$PATH"
export PATH
exec "$@"

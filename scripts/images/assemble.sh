#!/bin/sh
# In the build stage: fills the folder $1 with what the images copy; $2 = version number instead of package.json's.
set -eu
# `npm run images` brings node_modules along; a plain `docker build` installs them.
if [ ! -x node_modules/.bin/node ]; then
  apt-get update
  apt-get install -y --no-install-recommends ca-certificates nodejs npm
  npm ci --ignore-scripts --no-audit --no-fund
fi
exec node_modules/.bin/node scripts/images/assemble.ts "$@"

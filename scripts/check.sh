#!/bin/sh
# Format, types, lint: the quick checks before a commit.
set -eu
biome check .
tsc -p .
oxlint --type-aware --deny-warnings .

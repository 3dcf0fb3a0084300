#!/bin/sh
# Installs the two programs that test/contract/mcp-tools.test.ts runs against /mcp, outside of this tree: 145 MB that nothing else needs.
set -eu
folder="${XDG_CACHE_HOME:-$HOME/.cache}/argus-test/mcp-tools"
mkdir -p "$folder"
npm install --prefix "$folder" --no-audit --no-fund --ignore-scripts --save-exact \
  @modelcontextprotocol/conformance@0.1.16 @modelcontextprotocol/inspector@2.12.0

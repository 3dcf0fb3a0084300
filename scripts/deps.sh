# shellcheck shell=sh
# Sourced by ./argus and scripts/run.sh. ensure_deps <runtime|all>: installs the locked packages when the
# installed ones are missing or belong to another lockfile. Everything it does is said on stderr.
say() { printf 'argus: %s\n' "$*" >&2; }

lock_sum() { cksum < "$root/package-lock.json" | tr ' ' '-'; }

ensure_deps() {
  for tool in node npm; do
    command -v "$tool" >/dev/null 2>&1 || {
      say "$tool is missing. Install Node.js 18 or newer (it brings npm), for example: apt-get install nodejs npm"
      exit 69
    }
  done
  major=$(node -p 'process.versions.node.split(".")[0]')
  [ "$major" -ge 18 ] || { say "Node.js $major is too old to install the packages; install Node.js 18 or newer"; exit 69; }
  want="$1 $(lock_sum)"
  have=$(cat "$root/node_modules/.argus-installed" 2>/dev/null || true)
  case "$have" in
    "$want" | "all ${want#* }") ;;
    *)
      omit=''
      [ "$1" = all ] || omit='--omit=dev'
      say "installing the packages of package-lock.json (once, about a minute): npm ci $omit"
      # shellcheck disable=SC2086
      npm ci --ignore-scripts --no-audit --no-fund --loglevel=error $omit >&2 || {
        say "npm ci failed; the lines above say why. Nothing was started."
        exit 69
      }
      printf '%s\n' "$want" > "$root/node_modules/.argus-installed"
      ;;
  esac
  PATH="$root/node_modules/.bin:$PATH" node -e 'process.exit(process.versions.node.split(".")[0] >= 24 ? 0 : 1)' || {
    say "this platform has no Node.js 24 package on npm; install Node.js 24 or newer and run this again"
    exit 69
  }
}

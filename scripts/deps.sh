# shellcheck shell=sh
# Sourced by ./argus and scripts/run.sh. ensure_deps <runtime|all>: installs the locked packages when the
# installed ones are missing or belong to another lockfile. Everything it does is said on stderr.
say() { printf 'argus: %s\n' "$*" >&2; }

# One install at a time: `./argus chat` in a second terminal waits for the one that `./argus up` started.
# The lock is a folder that names its process; that of a dead process is taken over.
lock_install() {
  waited=0
  until mkdir "$root/.installing" 2>/dev/null; do
    [ -w "$root" ] || { say "the packages cannot be installed: $root is not yours to write; clone Argus into a folder of your own"; exit 77; }
    holder=$(cat "$root/.installing/pid" 2>/dev/null || true)
    if [ -n "$holder" ] && ! kill -0 "$holder" 2>/dev/null; then
      rm -rf "$root/.installing"
      continue
    fi
    [ "$waited" -ne 0 ] || say "waiting for another install in $root (process ${holder:-unknown})"
    waited=$((waited + 1))
    [ "$waited" -le 900 ] || { say "it takes too long; if none runs: rm -r $root/.installing"; exit 75; }
    sleep 1
  done
  printf '%s\n' "$$" > "$root/.installing/pid"
  trap 'rm -rf "$root/.installing"' EXIT
  trap 'exit 130' INT TERM
}
unlock_install() {
  rm -rf "$root/.installing"
  trap - EXIT INT TERM
}

installed() {
  have=$(cat "$root/node_modules/.argus-installed" 2>/dev/null || true)
  case "$have" in
    "$1 $(lock_sum)" | "all $(lock_sum)") return 0 ;;
    *) return 1 ;;
  esac
}

lock_sum() { cksum < "$root/package-lock.json" | tr ' ' '-'; }

ensure_deps() {
  # The usual case starts no Node: what the lockfile brings is new enough.
  if installed "$1" && [ -x "$root/node_modules/.bin/node" ]; then return 0; fi
  for tool in node npm; do
    command -v "$tool" >/dev/null 2>&1 || {
      say "$tool is missing. Install Node.js 18 or newer (it brings npm), for example: apt-get install nodejs npm"
      exit 69
    }
  done
  major=$(node -p 'process.versions.node.split(".")[0]')
  [ "$major" -ge 18 ] || { say "Node.js $major is too old to install the packages; install Node.js 18 or newer"; exit 69; }
  if ! installed "$1"; then
    lock_install
    # Somebody else may have done it meanwhile.
    installed "$1" || install "$1"
    unlock_install
  fi
  PATH="$root/node_modules/.bin:$PATH" node -e 'process.exit(process.versions.node.split(".")[0] >= 24 ? 0 : 1)' || {
    say "this platform has no Node.js 24 package on npm; install Node.js 24 or newer and run this again"
    exit 69
  }
}

install() {
  omit=''
  [ "$1" = all ] || omit='--omit=dev'
  say "installing the packages of package-lock.json (once, about a minute): npm ci $omit"
  # Its many words on a failure go to a file; the reason among them is said in one line. A registry that is away is
  # said after some 10 seconds instead of npm's 70.
  words="$root/.installing/npm.log"
  # shellcheck disable=SC2086
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error --fetch-retries=3 --fetch-retry-mintimeout=1000 \
    --fetch-retry-maxtimeout=5000 $omit 2>"$words" >&2 || {
    reason=$(sed -n 's/^npm \(error\|ERR!\) //p' "$words" | grep -v -E '^(code|errno|syscall|path|dest|A complete log) ' | head -n 1)
    say "npm ci failed: ${reason:-no reason given}. Nothing was started; see that the registry ($(npm config get registry 2>/dev/null)) can be reached and the folder be written, then run this again"
    exit 69
  }
  printf '%s\n' "$1 $(lock_sum)" > "$root/node_modules/.argus-installed"
}

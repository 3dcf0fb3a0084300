import { FRUGAL, nodeFlags } from "#cli/node-flags.ts";
import { POD_ENV } from "#protocol/pod.ts";
import { CONTAINER_RESERVE, FIRST_UNIQUE_UID } from "#runtime/isolation.ts";

const PROGRAM = "/usr/local/lib/argus/argus.js";

/**
 * `argus` of the images. As process 1 of a session's container it leaves that place to a reaper, and sets the outer one of two
 * process limits (the bridge sets the agent's): only where the user id is this session's alone, as runtime/isolation.ts demands.
 */
export function launcherText(): string {
  const cases = FRUGAL.map(
    (command) => `  ${command}) set -- ${[...nodeFlags(command), PROGRAM].join(" ")} "$@" ;;`,
  );
  return `#!/bin/sh
command=\${1-}
case "$command" in
${cases.join("\n")}
  *) set -- ${PROGRAM} "$@" ;;
esac
if [ "$command" = bridge ] && [ $$ = 1 ]; then
  read -r inside outside count < /proc/self/uid_map
  if [ "$inside $outside $count" != "0 0 4294967295" ] || [ "$(id -u)" -ge ${FIRST_UNIQUE_UID} ]; then
    [ -z "\${${POD_ENV.pids}-}" ] || ulimit -p $((${POD_ENV.pids} + ${CONTAINER_RESERVE})) || exit 126
  fi
  exec tini -- node "$@"
fi
exec node "$@"
`;
}

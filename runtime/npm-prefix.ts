import { join } from "node:path";

/**
 * The environment with npm's global folder on the agent's volume, its programs first on PATH: what the install script
 * puts there outlives the pod and is found by the app-server.
 */
export function withNpmPrefix(env: Record<string, string>, home: string): Record<string, string> {
  const prefix = join(home, ".npm-global");
  const path = [join(prefix, "bin"), env.PATH].filter(Boolean).join(":");
  return { ...env, HOME: home, npm_config_prefix: prefix, PATH: path };
}

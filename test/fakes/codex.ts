import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const TARGETS: Record<string, string> = {
  "linux-x64": "x86_64-unknown-linux-musl",
  "linux-arm64": "aarch64-unknown-linux-musl",
};

/** Path of the native Codex binary that npm installed for this platform. Throws where there is none. */
export function codexBinary(): string {
  const platform = `${process.platform}-${process.arch}`;
  const target = TARGETS[platform];
  if (!target) throw new Error(`no Codex binary is installed for ${platform}`);
  const require = createRequire(import.meta.url);
  const root = dirname(require.resolve(`@openai/codex-${platform}/package.json`));
  return join(root, "vendor", target, "bin", "codex");
}

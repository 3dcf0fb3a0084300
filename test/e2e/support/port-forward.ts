import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { dirname } from "node:path";
import { createInterface } from "node:readline";
import { kubectlPath } from "#test/support/kubectl.ts";
import type { Release } from "#test/support/release.ts";

/** Runs `use` with the URL under which a port of a Service or pod (`service/argus-gateway`, 8080) is reached from here. */
export async function forwarded<T>(
  argus: Release,
  target: { what: string; port: number },
  use: (url: string) => Promise<T>,
): Promise<T> {
  const { child, port } = await portForward(argus, target);
  try {
    return await use(`http://127.0.0.1:${port}`);
  } finally {
    child.kill();
    await once(child, "exit");
  }
}

async function portForward(
  { kubeconfig, namespace }: Release,
  { what, port }: { what: string; port: number },
): Promise<{ child: ChildProcess; port: string }> {
  const args = ["-n", namespace, "port-forward", what, `:${port}`];
  // Without a HOME kubectl keeps its cache in the working directory.
  const env = { PATH: process.env.PATH, HOME: dirname(kubeconfig), KUBECONFIG: kubeconfig };
  const child = spawn(await kubectlPath(), args, { env, stdio: ["ignore", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout });
  const [line] = (await Promise.race([once(lines, "line"), once(child, "exit")])) as [unknown];
  const own = /127\.0\.0\.1:(\d+)/.exec(String(line))?.[1];
  if (!own) throw new Error(`no port is forwarded: ${String(line)}`);
  return { child, port: own };
}

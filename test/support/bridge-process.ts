import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { makeVolume, TestBridge, type TestBridgeOptions } from "./bridge.ts";

export interface BridgeProcess {
  bridge: TestBridge;
  /** As the process itself sees it: in a namespace of its own it is a small number. */
  pid: number;
  /** SIGKILL to the program that was started; resolves when it is gone. */
  kill(): Promise<void>;
}

/** A real bridge in a process of its own, started by `wrap` (its last word is followed by the bridge's command). */
export async function startBridgeProcess(
  options: TestBridgeOptions,
  wrap: string[] = [],
): Promise<BridgeProcess> {
  const volume = options.volume ?? (await makeVolume());
  const script = join(import.meta.dirname, "run-bridge.ts");
  const told = JSON.stringify({ volume: { ...volume, key: undefined }, options });
  const [program, ...words] = [...wrap, process.execPath, script, told, "bridge"];
  const child = spawn(program, words, { stdio: ["pipe", "pipe", "inherit"] });
  const exited = once(child, "exit");
  const lines = createInterface({ input: child.stdout });
  const first = await Promise.race([once(lines, "line"), exited]);
  const { port, probePort, pid } = JSON.parse(String(first[0]));
  const stop = new AbortController();
  stop.signal.addEventListener("abort", () => child.stdin.end());
  const closed = exited.then(() => undefined);
  const kill = async () => {
    child.kill("SIGKILL");
    await exited;
  };
  return { bridge: new TestBridge(volume, { port, probePort, closed }, stop), pid, kill };
}

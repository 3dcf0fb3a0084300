import { startBridge } from "#runtime/bridge.ts";
import { bridgeOptionsFor, type TestBridgeOptions, type Volume } from "./bridge.ts";

// A bridge in a process of its own: node run-bridge.ts JSON [bridge]. Prints its ports; ends when stdin does.
const { volume, options } = JSON.parse(process.argv[2] ?? "") as {
  volume: Volume;
  options: TestBridgeOptions;
};
const stop = new AbortController();
process.stdin.on("end", () => stop.abort()).resume();
const { port, probePort, closed } = await startBridge(
  bridgeOptionsFor(volume, options),
  stop.signal,
);
console.log(JSON.stringify({ port, probePort, pid: process.pid }));
await closed;
process.exit(0);

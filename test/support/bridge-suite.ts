import { afterEach } from "vitest";
import {
  removeVolume,
  startTestBridge,
  type TestBridge,
  type TestBridgeOptions,
} from "./bridge.ts";

/** Starts bridges for the tests of a file; each is stopped, and its volume removed, after its test. */
export function bridgeSuite(): (options?: TestBridgeOptions) => Promise<TestBridge> {
  let bridges: TestBridge[] = [];
  afterEach(async () => {
    for (const bridge of bridges) await bridge.stop();
    for (const bridge of bridges) await removeVolume(bridge.volume);
    bridges = [];
  });
  return async (options = {}) => {
    const bridge = await startTestBridge(options);
    bridges.push(bridge);
    return bridge;
  };
}

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** Bytes of the buffers that are still in use in this process; what waits for the collector is not counted. */
export function liveBufferBytes(): number {
  // The second one waits until the first has swept.
  collect();
  collect();
  return process.memoryUsage().arrayBuffers;
}

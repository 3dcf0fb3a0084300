import { supervise } from "#node-host/supervisor.ts";
import { runCommand } from "./lifetime.ts";

/** `node-host supervise <folder>`. */
export const superviseJob = (folder: string) => runCommand(() => supervise(folder));

#!/usr/bin/env node
import { enableCompileCache } from "node:module";
import { join } from "node:path";
import { ownHome } from "./home.ts";

// Compiled modules are kept: every process starts in two thirds of the time and with 30 MB less. The user's own folder,
// because whoever can write there decides what runs. Without one it just starts slower.
const home = ownHome();
if (home) enableCompileCache(join(home, ".cache", "argus", "compiled"));
const { runCommandLine } = await import("./command-line.ts");
await runCommandLine();

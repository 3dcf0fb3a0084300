#!/usr/bin/env node
import { Command, CommanderError } from "commander";
import packageJson from "#package" with { type: "json" };
import { readEnvironment } from "./config.ts";
import { EXIT } from "./exit.ts";
import { addNodeHost } from "./node-host-program.ts";

// The one file that a device downloads: it runs on Node 20 and later.
const program = new Command("node-host")
  .description("Lets a person's Argus agent run commands on this device")
  .version(packageJson.version)
  .exitOverride();
addNodeHost(program, readEnvironment(), []);
try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
}

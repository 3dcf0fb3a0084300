import { systemClock } from "#lib/clock.ts";
import { telegramSettings } from "./config/telegram.ts";
import { upSettings } from "./config/up.ts";
import type { Environment } from "./config.ts";
import { ownDataFolder } from "./data-folder.ts";
import { EXIT } from "./exit.ts";
import { untilSignalled } from "./lifetime.ts";
import { shellWord } from "./up/banner.ts";
import { runInstallation } from "./up/installation.ts";
import { portOption } from "./up/ports.ts";

export interface UpCommand {
  data?: string;
  port: string;
  apiPort: string;
  environment: Environment;
}

/** `argus up`: runs until it is stopped. */
export async function up(command: UpCommand): Promise<number> {
  const { environment } = command;
  const settings = upSettings(environment);
  // What is wrong in the bot's settings is said before anything runs.
  if (settings.ARGUS_TELEGRAM_TOKEN !== undefined) telegramSettings(environment);
  // A terminal that was closed takes no words; the stop goes on.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
  const say = (line: string) => void process.stdout.write(`${line}\n`);
  const signal = untilSignalled((name) => say(`\n${name}: stopping (again = at once)`));
  await runInstallation(
    {
      settings,
      environment,
      folder: ownDataFolder(command.data, environment),
      dataFlag: command.data ? ` --data ${shellWord(command.data)}` : "",
      program: "./argus",
      port: portOption("--port", command.port),
      apiPort: portOption("--api-port", command.apiPort),
      ownUsers: process.platform === "linux" && process.getuid?.() === 0,
      clock: systemClock,
      say,
    },
    signal,
  );
  return EXIT.ok;
}

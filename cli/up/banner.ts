import type { MainRuntime } from "./bootstrap.ts";

export interface Ready {
  url: string;
  token: string;
  kubeconfig: string;
  data: string;
  logs: string;
  /** How the person calls this program, for example `./argus`. */
  program: string;
  /** Empty, or ` --data DIR` where the default folder is not used. */
  dataFlag: string;
  main: MainRuntime;
  hasModel: boolean;
  codexInstalled: boolean;
  /** The Telegram bot runs. */
  telegram: boolean;
  warnings: string[];
}

/** What the person reads when everything runs: where it is, what to type next, what to know. */
export function readyText(ready: Ready): string {
  const { program, dataFlag } = ready;
  const rows = [
    "",
    "Argus is ready.",
    `  gateway     ${ready.url}`,
    `  token       ${ready.token}`,
    `  kubectl     export KUBECONFIG=${shellWord(ready.kubeconfig)}`,
    `  data, logs  ${ready.data} (logs in ${ready.logs})`,
    ...modelRows(ready),
    ...(ready.telegram ? ["  telegram    the bot runs: write to it (docs/telegram.md)"] : []),
    ...(ready.warnings.length > 0 ? ["", "Not isolated here (docs/security.md):"] : []),
    ...ready.warnings.map((warning) => `  - ${warning}`),
    "",
    `Next, in a second terminal:  ${program} chat${dataFlag}`,
    "Ctrl-C stops everything; sessions and threads are kept.",
    "",
  ];
  return rows.join("\n");
}

function modelRows({ main, hasModel, codexInstalled, program, dataFlag }: Ready): string[] {
  const change = (to: string) => `${program} sessions runtime main ${to}${dataFlag}`;
  if (main === "echo" && !hasModel) {
    return [
      "  main        runs the built-in ECHO: it repeats what you say, no model.",
      "              For Codex set OPENAI_API_KEY, start again and switch:",
      `              ${change("codex")}`,
    ];
  }
  if (main === "echo") {
    const why = codexInstalled ? "" : " (Codex is not installed here)";
    return [`  main        still runs the built-in ECHO${why}. Switch:  ${change("codex")}`];
  }
  if (main === "codex" && !hasModel) {
    return [
      "  main        runs Codex, but no model key is set: its turns will fail.",
      `              Set OPENAI_API_KEY and start again, or switch:  ${change("echo")}`,
    ];
  }
  return [`  main        runs ${main === "codex" ? "Codex" : "the command of its spec"}`];
}

/** Quoted only where the shell needs it. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

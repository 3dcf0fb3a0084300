/** One line of `argus doctor`. */
export interface Check {
  name: string;
  /** `missing` makes the exit code 1; `note` only tells. */
  state: "ok" | "note" | "missing";
  found: string;
  /** The command or step that mends it. */
  fix?: string;
}

const MARK = { ok: "ok     ", note: "note   ", missing: "MISSING" } as const;

export function report(checks: Check[]): string {
  const width = Math.max(...checks.map(({ name }) => name.length));
  const rows = checks.flatMap(({ name, state, found, fix }) => {
    const row = `${MARK[state]}  ${name.padEnd(width)}  ${found}`;
    return fix && state !== "ok" ? [row, `${" ".repeat(11 + width)}→ ${fix}`] : [row];
  });
  const missing = checks.filter(({ state }) => state === "missing").length;
  const end = missing === 0 ? "nothing needed is missing" : `${missing} needed, see MISSING above`;
  return `${rows.join("\n")}\n\n${end}\n`;
}

export const needsFixing = (checks: Check[]) => checks.some(({ state }) => state === "missing");

/** Where packages come from on this machine. */
export function installCommand(what: { debian: string; mac: string }, platform: string): string {
  return platform === "darwin" ? `brew install ${what.mac}` : `apt-get install ${what.debian}`;
}

import { execFile } from "node:child_process";
import { cpus, release } from "node:os";
import { promisify } from "node:util";
import { foreignShare, MAX_FOREIGN, type Runs } from "./rounds.ts";
import { relativeSpread, type Spread } from "./statistics.ts";

/** Spread of the baseline above which a comparison is void. */
const MAX_BASELINE_SPREAD = 0.25;

/** One line of the report. */
export interface Row {
  goal: string;
  what: string;
  /** What is asked, in words: `>= 0.50`. */
  asked: string;
  reached: Spread;
  /** "" = a plain ratio. */
  unit: string;
  /** Undefined: reported only. */
  met: boolean | undefined;
  /** Highest share of a core that others took in one of its runs. */
  foreign: number;
  /** Why the figure counts for nothing. */
  voided: string | undefined;
}

export interface Target {
  goal: string;
  what: string;
  atLeast?: number;
  atMost?: number;
  unit?: string;
}

/** Turns a figure and its runs into a row; `baseline` is the denominator's own figure, whose spread decides too. */
export function row(target: Target, reached: Spread, runs: Runs, baseline?: Spread): Row {
  const { goal, what, atLeast, atMost, unit = "" } = target;
  const shares = [...runs.values()].flat().map(foreignShare);
  const foreign = Math.max(0, ...shares.filter(Number.isFinite));
  const asked = [
    ...(atLeast === undefined ? [] : [`≥ ${atLeast}`]),
    ...(atMost === undefined ? [] : [`≤ ${atMost}`]),
  ].join(", ");
  const low = atLeast !== undefined && reached.median < atLeast;
  const high = atMost !== undefined && reached.median > atMost;
  const met = asked === "" ? undefined : !low && !high && Number.isFinite(reached.median);
  return {
    goal,
    what,
    asked,
    reached,
    unit,
    met,
    foreign,
    voided: reasonToVoid(foreign, baseline),
  };
}

function reasonToVoid(foreign: number, baseline: Spread | undefined): string | undefined {
  if (foreign > MAX_FOREIGN) return `foreign CPU ${percent(foreign)}`;
  if (baseline && relativeSpread(baseline) > MAX_BASELINE_SPREAD) {
    return `baseline spread ±${percent(relativeSpread(baseline))}`;
  }
  return undefined;
}

const percent = (share: number): string => `${Math.round(share * 100)} %`;

export function digits(value: number): string {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 100) return value.toFixed(0);
  return size >= 10 ? value.toFixed(1) : value.toFixed(size < 0.1 && size > 0 ? 4 : 2);
}

/** A Markdown table. */
export function table(rows: readonly Row[]): string {
  const head =
    "| goal | what | asked | reached | min – max | runs | foreign | |\n|---|---|---|---|---|---|---|---|";
  return [head, ...rows.map(line)].join("\n");
}

function line({ goal, what, asked, reached, unit, met, foreign, voided }: Row): string {
  const verdict = met === undefined ? "" : met ? "met" : "**missed**";
  const cells = [
    goal,
    what,
    asked,
    `${digits(reached.median)}${unit}`,
    `${digits(reached.min)} – ${digits(reached.max)}`,
    String(reached.count),
    percent(foreign),
    [verdict, voided ? `void: ${voided}` : ""].filter(Boolean).join("; "),
  ];
  return `| ${cells.join(" | ")} |`;
}

const run = promisify(execFile);

async function firstLine(command: string, ...words: string[]): Promise<string> {
  const { stdout, stderr } = await run(command, words).catch(() => ({
    stdout: "none",
    stderr: "",
  }));
  return (stdout || stderr).split("\n")[0]?.trim() ?? "";
}

/** Versions and commit, so that a report can be read later. */
export async function environment(): Promise<string> {
  const [commit, dirty, haproxy, cc] = await Promise.all([
    firstLine("git", "rev-parse", "--short", "HEAD"),
    firstLine("git", "status", "--porcelain"),
    firstLine("haproxy", "-v"),
    firstLine("cc", "--version"),
  ]);
  const changed = dirty ? " (with changes)" : "";
  return [
    `commit ${commit}${changed}`,
    `Node ${process.version}`,
    haproxy.replace(/^HAProxy version (\S+).*/, "haproxy $1"),
    cc,
    `Linux ${release()}`,
    `${cpus().length} cores`,
  ].join(" · ");
}

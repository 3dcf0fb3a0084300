import { BOMBS } from "#test/support/bombs.ts";
import { eventually } from "#test/support/eventually.ts";
import type { SessionPod } from "./session-pods.ts";

/** Of probing before and beside a bomb, which its bridge ends after 30 s. */
const WINDOWS = 9;
const WINDOW_MS = 2000;

/** Runs bash scripts that `run` leaves in the home, as the agent's children; the app-server is the built-in echo. */
const AGENT = `while :; do
  if [ -e "$HOME/go" ]; then mv "$HOME/go" "$HOME/went"; /bin/bash "$HOME/went" & fi
  sleep 0.1
done >/dev/null 2>&1 &
exec "$@"`;
export const echo = { command: ["/bin/sh", "-c", AGENT, "sh", "argus"], args: ["echo"] };
export const run = (pod: SessionPod, script: string) =>
  pod.sh(`cat > ~/going <<'SCRIPT'\n${script}\nSCRIPT\nmv ~/going ~/go`);

/** Two sessions of one node: one with a bomb, one that is asked. */
export const PAIR = {
  runtime: echo,
  resources: { limits: { cpu: "500m" } },
  limits: { pids: 128 },
};

/** Sorted answer times in ms, a list for each window. */
export interface BombRound {
  quiet: number[][];
  /** The neighbour's beside the bomb, and the bomb's own bridge's. */
  loud: number[][];
  own: number[][];
  /** Tasks in the bomb's pod, most at once. */
  tasks: number;
}

/** Asks the neighbour alone, lights the bomb and asks both, until the bridge has ended it and all is as before. */
export async function bombRound(bomb: SessionPod, neighbour: SessionPod): Promise<BombRound> {
  const { restarts: before } = await bomb.status();
  const round: BombRound = { quiet: [], loud: [], own: [], tasks: 0 };
  for (let i = 0; i < WINDOWS; i += 1) round.quiet.push(await neighbour.probe(after(WINDOW_MS)));
  await run(bomb, BOMBS["fork loop"] ?? "");
  await eventually("the limit", async () => {
    const { pids } = await bomb.status();
    return pids !== undefined && pids.used >= 125;
  });
  for (let i = 0; i < WINDOWS; i += 1) {
    const both = [neighbour.probe(after(WINDOW_MS)), bomb.probe(after(WINDOW_MS))] as const;
    const [beside, inside] = await Promise.all(both);
    round.loud.push(beside);
    round.own.push(inside);
    round.tasks = Math.max(round.tasks, (await bomb.status()).pids?.used ?? 0);
  }
  await eventually("the bridge ends it", async () => {
    const { killed, restarts, state } = await bomb.status();
    return killed?.reason === "PidLimit" && restarts === before + 1 && state === "hot";
  });
  const gone = async () => ((await bomb.status()).pids?.used ?? 999) < 60;
  await eventually("the load is gone", gone, 20_000);
  return round;
}

function after(ms: number): () => boolean {
  const end = performance.now() + ms;
  return () => performance.now() > end;
}

const p99 = (sorted: number[]) => sorted[Math.floor((sorted.length - 1) * 0.99)] ?? Number.NaN;
const ascending = (times: number[]) => times.toSorted((a, b) => a - b);

/** The median of the windows' p99s, in ms: one slow answer of a busy machine moves it little. */
export function medianP99(windows: number[][]): number {
  const each = ascending(windows.map(p99));
  return each[Math.floor(each.length / 2)] ?? Number.NaN;
}

export function allP99(windows: number[][]): number {
  return p99(ascending(windows.flat()));
}

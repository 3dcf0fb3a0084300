import { BOMBS } from "#test/support/bombs.ts";
import type { BridgePeer, Line } from "#test/support/bridge-peer.ts";
import { eventually } from "#test/support/eventually.ts";
import type { SessionPod } from "./session-pods.ts";

/** How long is asked before a bomb and beside it; its bridge ends it after 30 s. */
const TURNS_MS = 16_000;
const ANSWERS_MS = 4000;

/** Runs bash scripts that `run` leaves in the home, as the agent's children; the app-server is the built-in echo. */
const AGENT = `while :; do
  if [ -e "$HOME/go" ]; then mv "$HOME/go" "$HOME/went"; /bin/bash "$HOME/went" & fi
  sleep 0.1
done >/dev/null 2>&1 &
exec "$@"`;
export const echo = { command: ["/bin/sh", "-c", AGENT, "sh", "argus"], args: ["echo"] };
export const run = (pod: SessionPod, script: string) =>
  pod.sh(`cat > ~/going <<'SCRIPT'\n${script}\nSCRIPT\nmv ~/going ~/go`);

/** A session with a bomb that may use a quarter of a node of two CPUs, and one in which Codex answers. */
export const BOMB = {
  runtime: echo,
  resources: { limits: { cpu: "200m" } },
  limits: { pids: 128 },
};
export const NEIGHBOUR = { approvals: "never" } as const;

/** Sorted times in ms: Codex turns, and answers of the bridge's probe port. */
interface Times {
  turns: number[];
  answers: number[];
}

export interface BombRound {
  /** The neighbour's, alone and beside the bomb. */
  quiet: Times;
  loud: Times;
  /** Answers of the bomb's own bridge. */
  own: number[];
  /** Tasks in the bomb's pod, the most of two looks: at the limit, and after the neighbour was asked. */
  tasks: number;
}

/** Asks the neighbour alone, lights the bomb and asks both, until the bridge has ended it and all is as before. */
export async function bombRound(bomb: SessionPod, neighbour: SessionPod): Promise<BombRound> {
  const { restarts: before } = await bomb.status();
  const quiet = await timesOf(neighbour);
  await run(bomb, BOMBS["fork loop"] ?? "");
  await eventually("the limit", async () => (await tasksOf(bomb)) >= 125);
  const own = await bomb.probe(after(1000));
  const first = await tasksOf(bomb);
  const loud = await timesOf(neighbour);
  const tasks = Math.max(first, await tasksOf(bomb));
  await eventually("the bridge ends it", async () => {
    const { killed, restarts, state } = await bomb.status();
    return killed?.reason === "PidLimit" && restarts === before + 1 && state === "hot";
  });
  await eventually("the load is gone", async () => (await tasksOf(bomb)) < 60, 20_000);
  return { quiet, loud, own, tasks };
}

async function tasksOf(pod: SessionPod): Promise<number> {
  return (await pod.status()).pids?.used ?? 0;
}

async function timesOf(pod: SessionPod): Promise<Times> {
  const answers = await pod.probe(after(ANSWERS_MS));
  const peer = await pod.join();
  const thread = await startThread(peer);
  const turns: number[] = [];
  for (const isOver = after(TURNS_MS); !isOver(); ) {
    const asked = performance.now();
    await turnOf(peer, thread, "good morning");
    turns.push(performance.now() - asked);
  }
  peer.close();
  return { turns: turns.sort((a, b) => a - b), answers };
}

export async function startThread(peer: BridgePeer): Promise<string> {
  const { thread } = await peer.request("thread/start", {});
  return (thread as { id: string }).id;
}

/** Resolves at the turn's end to what the app-server says of it. */
export async function turnOf(peer: BridgePeer, threadId: string, text: string): Promise<unknown> {
  const from = peer.lines.length;
  const input = [{ type: "text", text, text_elements: [] }];
  await peer.request("turn/start", { threadId, input });
  const isEnd = ({ method, params }: Line) =>
    method === "turn/completed" && params?.["threadId"] === threadId;
  return (await peer.waitFor("the end of the turn", isEnd, from)).params?.["turn"];
}

function after(ms: number): () => boolean {
  const end = performance.now() + ms;
  return () => performance.now() > end;
}

/** Of sorted times. */
export function p99(sorted: number[]): number {
  return sorted[Math.floor((sorted.length - 1) * 0.99)] ?? Number.NaN;
}

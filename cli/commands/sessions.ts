import { createInterface } from "node:readline/promises";
import { present } from "#cluster/objects.ts";
import { argusSessions, pods } from "#cluster/resources.ts";
import type { KubeClient, KubeObject } from "#cluster/types.ts";
import { API_VERSION, type ArgusSession } from "#crds/kinds.ts";
import { systemClock } from "#lib/clock.ts";
import { ArgusError } from "#lib/errors.ts";
import { LABEL } from "#protocol/pod.ts";
import { findGateway } from "../client.ts";
import { withCluster } from "../cluster-access.ts";
import type { Environment } from "../config.ts";
import { EXIT } from "../exit.ts";
import { age, table } from "../table.ts";
import { ECHO_COMMAND, NAMESPACE } from "../up/bootstrap.ts";
import { createByGateway, deleteByGateway, listSessions } from "./gateway-calls.ts";

export interface SessionsCommand {
  url?: string;
  token?: string;
  data?: string;
  environment: Environment;
}

const NAME = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

export async function list(command: SessionsCommand & { json?: boolean }): Promise<number> {
  const rows = await listSessions(findGateway(command));
  if (command.json) {
    process.stdout.write(`${JSON.stringify(rows, undefined, 2)}\n`);
    return EXIT.ok;
  }
  const now = new Date();
  const cells = rows.map((row) => [
    row.name,
    row.ready ? "True" : "False",
    row.reason || row.status,
    age(row.createdAt, now),
    row.ready ? "" : row.message,
  ]);
  process.stdout.write(
    cells.length > 0
      ? table(["NAME", "READY", "REASON", "AGE", "MESSAGE"], cells)
      : "no sessions yet: `./argus chat` makes one\n",
  );
  return EXIT.ok;
}

export async function create(
  command: SessionsCommand & { name?: string; echo?: boolean },
): Promise<number> {
  const { name } = command;
  if (name === undefined && !command.echo) {
    const made = await createByGateway(findGateway(command));
    return say(`session ${made} made. Talk to it: ./argus chat ${made}`);
  }
  if (name === undefined || !NAME.test(name)) {
    const rule = "lower-case letters, digits and dashes, at most 63 characters";
    throw new ArgusError("InvalidInput", `${name ?? "(no name)"}: a session's name has ${rule}`);
  }
  const object: KubeObject & { spec: unknown } = {
    apiVersion: API_VERSION,
    kind: "ArgusSession",
    metadata: { name, namespace: NAMESPACE },
    spec: command.echo ? { runtime: { command: ECHO_COMMAND } } : {},
  };
  await withCluster(command, (kube) => kube.create(argusSessions, object));
  return say(`session ${name} made. Talk to it: ./argus chat ${name}`);
}

export async function remove(
  command: SessionsCommand & { name: string; yes?: boolean },
): Promise<number> {
  const gateway = findGateway(command);
  if (!command.yes && !(await confirmed(`Delete session ${command.name} and all its files?`))) {
    return say("nothing was deleted", EXIT.failed);
  }
  await deleteByGateway(gateway, command.name);
  return say(`session ${command.name} is being deleted`);
}

/** Asks the controller for a new pod and waits until the old one is on its way out. */
export async function restart(command: SessionsCommand & { name: string }): Promise<number> {
  const { name } = command;
  return await withCluster(command, async (kube) => {
    const { metadata } = existing(name, await kube.get<ArgusSession>(refOf(name)));
    const former = await livePods(kube, metadata.uid);
    const annotations = { [LABEL.restartAt]: new Date().toISOString() };
    const asked: KubeObject = {
      apiVersion: API_VERSION,
      kind: "ArgusSession",
      metadata: { name, namespace: NAMESPACE, ...present({ uid: metadata.uid }), annotations },
    };
    await kube.apply(argusSessions, asked, { fieldManager: "argus-cli", force: true });
    for (let tries = 0; tries < RESTART_LOOKS; tries += 1) {
      const now = await livePods(kube, metadata.uid);
      if (!former.some((uid) => now.includes(uid))) return say(`session ${name} is restarting`);
      await systemClock.sleep(RESTART_LOOK_MS);
    }
    return say(`session ${name} will restart; the controller has not acted yet: is it running?`);
  });
}

const RESTART_LOOKS = 50;
const RESTART_LOOK_MS = 200;

/** UIDs of the session's pods that are not on their way out. */
async function livePods(kube: KubeClient, sessionUid = ""): Promise<string[]> {
  const labelSelector = `${LABEL.sessionUid}=${sessionUid}`;
  const { items } = await kube.list<KubeObject>(pods, { namespace: NAMESPACE, labelSelector });
  const live = items.filter(({ metadata }) => !metadata.deletionTimestamp);
  return live.map(({ metadata }) => metadata.uid ?? "");
}

export async function runtime(
  command: SessionsCommand & { name: string; runtime: string },
): Promise<number> {
  const { name, runtime: wanted } = command;
  if (wanted !== "codex" && wanted !== "echo") {
    throw new ArgusError("InvalidInput", `${wanted}: give codex or echo`);
  }
  await withCluster(command, async (kube) => {
    const session = existing(name, await kube.get<ArgusSession>(refOf(name)));
    const { command: _, ...others } = session.spec.runtime ?? {};
    const value = wanted === "echo" ? { ...others, command: ECHO_COMMAND } : others;
    await kube.jsonPatch(refOf(name), [{ op: "add", path: "/spec/runtime", value }]);
  });
  return say(`session ${name} runs ${wanted} from its next start on, which follows at once`);
}

const refOf = (name: string) => ({ resource: argusSessions, namespace: NAMESPACE, name });

function existing(name: string, session: ArgusSession | undefined): ArgusSession {
  if (session) return session;
  throw new ArgusError("NotFound", `no session ${name}: \`argus sessions\` lists them`);
}

function say(line: string, code: number = EXIT.ok): number {
  process.stdout.write(`${line}\n`);
  return code;
}

async function confirmed(question: string): Promise<boolean> {
  if (!process.stdin.isTTY) {
    throw new ArgusError("InvalidInput", `${question} There is no terminal to ask: give --yes`);
  }
  const lines = createInterface({ input: process.stdin, output: process.stdout });
  const answer = await lines.question(`${question} [y/N] `);
  lines.close();
  return /^y(es)?$/i.test(answer.trim());
}

import { expect } from "vitest";
import type { ArgusSessionStatus } from "#crds/argus-session.ts";
import { BOMBS } from "#test/support/bombs.ts";
import { eventually } from "#test/support/eventually.ts";
import type { Release } from "#test/support/release.ts";

interface Death {
  name: string;
  /** Run by the agent's shell beside the app-server. */
  script: string;
  limits: object;
  termination: ArgusSessionStatus["lastTermination"];
}

const DEATHS: Death[] = [
  {
    name: "eater",
    script: "perl -e 'my $all = q(x) x 6e8; sleep 60'",
    limits: { resources: { limits: { memory: "256Mi" } } },
    termination: expect.objectContaining({ reason: "OOMKilled", oomKilled: true }),
  },
  {
    name: "bomb",
    script: BOMBS["fork loop"] ?? "",
    limits: { limits: { pids: 128 }, resources: { limits: { cpu: "500m" } } },
    termination: expect.objectContaining({ reason: "PidLimit", pidLimitHit: true }),
  },
];

/** Agents that go over a limit of theirs on a real node: the session's status names what ended them, and they are back. */
export async function deathsAreNamed(argus: Release): Promise<void> {
  const objects = DEATHS.map(({ name, script, limits }) => {
    const command = ["/bin/bash", "-c", '(sleep 2; eval "$0") & exec "$@"', script, "argus"];
    const spec = { runtime: { command, args: ["echo"] }, ...limits };
    return { apiVersion: "argus.dev/v1alpha1", kind: "ArgusSession", metadata: { name }, spec };
  });
  const list = { apiVersion: "v1", kind: "List", items: objects };
  await argus.ok(["apply", "-f", "-"], JSON.stringify(list));
  for (const { name, termination } of DEATHS) {
    const named = async () => {
      const { status } = await argus.get<{ status?: ArgusSessionStatus }>(`argussession/${name}`);
      return status?.lastTermination;
    };
    expect(await eventually(`the death of ${name} is named`, named, 120_000)).toEqual(termination);
  }
  const names = DEATHS.map(({ name }) => `argussession/${name}`);
  await argus.ok(["delete", ...names, "--timeout=120s"]);
}

import { expect, test } from "vitest";
import type { Condition } from "#crds/condition.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { sessionRows } from "#gateway/session-rows.ts";
import { statusWords } from "#gateway/session-status.ts";

type Change = {
  spec?: Partial<ArgusSession["spec"]>;
  conditions?: Partial<Condition>[];
  name?: string;
  deleting?: boolean;
};
const session = ({ spec, conditions, name = "s", deleting }: Change = {}) =>
  ({
    metadata: { name, ...(deleting ? { deletionTimestamp: "2026-01-01T00:00:00Z" } : {}) },
    spec: { operatingMode: "Running", tokenGeneration: 0, ...spec },
    status: { conditions: conditions ?? [] },
  }) as unknown as ArgusSession;

test.each<[string, Change, string, RegExp]>([
  ["no conditions yet", {}, "starting", /controller to take up/],
  ["suspended", { spec: { operatingMode: "Suspended" } }, "unavailable", /Wake it: kubectl patch/],
  ["being deleted", { deleting: true }, "unavailable", /being deleted/],
  [
    "waiting with a reason",
    { conditions: [{ type: "Ready", status: "False", reason: "PodPending", message: "no node" }] },
    "starting",
    /Waiting: PodPending: no node/,
  ],
  [
    "install failed",
    {
      conditions: [
        { type: "RuntimeInstalled", status: "False", reason: "InstallFailed", message: "exit 1" },
      ],
    },
    "unavailable",
    /InstallFailed: exit 1/,
  ],
  [
    "finished",
    { conditions: [{ type: "Finished", status: "True", reason: "ShutdownTime", message: "" }] },
    "unavailable",
    /finished: ShutdownTime$/,
  ],
])("%s", (_, change, state, message) => {
  const words = statusWords(session(change), undefined, undefined);
  expect(words.state).toBe(state);
  expect(words.message).toMatch(message);
});

test("a problem with the bridge is what a waiting client hears first", () => {
  expect(statusWords(session(), undefined, "The bridge is not reachable.").message).toBe(
    "The bridge is not reachable. Trying again.",
  );
});

test("ready sessions come first, then by name", () => {
  const ready = [{ type: "Ready", status: "True" as const, reason: "Up", message: "" }];
  const all = [
    session({ name: "b" }),
    session({ name: "c", conditions: ready }),
    session({ name: "a" }),
  ];
  const rows = sessionRows(all, []);
  expect(rows.map(({ sessionId, status, ready }) => [sessionId, status, ready])).toEqual([
    ["c", "running", true],
    ["a", "starting", false],
    ["b", "starting", false],
  ]);
});

import { endProcessTree } from "#lib/process-record.ts";
import { type Cgroups, leftoverMembers, removeCgroups } from "./cgroup.ts";
import { POD_MARK } from "./container-plan.ts";
import type { RunRecords } from "./run-records.ts";

/** Between SIGTERM and SIGKILL for what a crash left: enough to save a file, not to finish a turn. */
const GRACE_MS = 2000;

/**
 * Ends everything that an earlier start left running: recorded processes that still match, their descendants, what
 * carries their pod's mark, and the members of our cgroups. Resolves to `<pod uid>/<container>` of the cut-off runs.
 */
export async function recover(
  runs: RunRecords,
  cgroups: Cgroups | undefined,
): Promise<Set<string>> {
  const left = runs.list();
  const members = cgroups ? await leftoverMembers(cgroups) : [];
  await Promise.all(
    [...new Set(left.map(({ podUid }) => podUid))].map((value) =>
      endProcessTree({
        roots: left.filter(({ podUid }) => podUid === value),
        mark: { name: POD_MARK, value },
        graceMs: GRACE_MS,
      }),
    ),
  );
  await endProcessTree({ roots: members, graceMs: GRACE_MS });
  if (cgroups) await removeCgroups(cgroups, false);
  for (const run of left) runs.end(run);
  return new Set(left.map(({ podUid, container }) => `${podUid}/${container}`));
}

import { isConflict, isKubeError, isNotFound } from "#cluster/kube-error.ts";
import { argusSessions } from "#cluster/resources.ts";
import type { JsonPatchOperation, KubeClient } from "#cluster/types.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { ArgusError } from "#lib/errors.ts";

/**
 * Holds a deleted session until its senders were told and its document is gone. It is put on before the first entry of anybody is
 * accepted, a chat is bound, a client comes or a heartbeat is written down; a session without it has nothing here.
 */
export const FINALIZER = "argus.dev/gateway";
/** The object may change under a patch so often. */
const TRIES = 5;

export function isHeld({ metadata }: ArgusSession): boolean {
  return metadata.finalizers?.includes(FINALIZER) ?? false;
}

/** Puts the finalizer on the session. Throws `NotFound` when it is being deleted or another object has its name. */
export async function hold(kube: KubeClient, session: ArgusSession): Promise<void> {
  await change(kube, session, (found) => {
    if (found.metadata.deletionTimestamp) throw deleted(session);
    const list = found.metadata.finalizers ?? [];
    return list.includes(FINALIZER) ? undefined : [...list, FINALIZER];
  });
}

/** Takes the finalizer off; nothing to do when the object is gone. */
export async function release(kube: KubeClient, session: ArgusSession): Promise<void> {
  try {
    await change(kube, session, ({ metadata: { finalizers = [] } }) =>
      finalizers.includes(FINALIZER) ? finalizers.filter((each) => each !== FINALIZER) : undefined,
    );
  } catch (error) {
    if (!(error instanceof ArgusError && error.code === "NotFound")) throw error;
  }
}

/** Writes the list that `next` makes of exactly the version that it saw. */
async function change(
  kube: KubeClient,
  session: ArgusSession,
  next: (found: ArgusSession) => string[] | undefined,
): Promise<void> {
  const { name, namespace = "", uid } = session.metadata;
  const ref = { resource: argusSessions, namespace, name };
  let found: ArgusSession | undefined = session;
  for (let tries = 0; ; tries += 1) {
    if (found?.metadata.uid !== uid || !found) throw deleted(session);
    const finalizers = next(found);
    if (!finalizers) return;
    try {
      await kube.jsonPatch(ref, patchOf(found, finalizers));
      return;
    } catch (error) {
      if (isNotFound(error)) throw deleted(session);
      // A failed test is 422 on a real API server.
      const isStale = isConflict(error) || isKubeError(error, 422);
      if (!isStale || tries >= TRIES) throw error;
      found = await kube.get<ArgusSession>(ref);
    }
  }
}

function patchOf({ metadata }: ArgusSession, finalizers: string[]): JsonPatchOperation[] {
  const { uid, resourceVersion } = metadata;
  const path = "/metadata/finalizers";
  const write: JsonPatchOperation =
    finalizers.length === 0 ? { op: "remove", path } : { op: "add", path, value: finalizers };
  return [
    { op: "test", path: "/metadata/uid", value: uid },
    { op: "test", path: "/metadata/resourceVersion", value: resourceVersion },
    write,
  ];
}

function deleted({ metadata: { name } }: ArgusSession): ArgusError {
  return new ArgusError(
    "NotFound",
    `Session ${name} is being deleted: nothing is taken any more.`,
    {
      session: name,
    },
  );
}

import { createHash, randomBytes } from "node:crypto";
import { Cron } from "croner";
import { isNotFound } from "#cluster/kube-error.ts";
import { ownerReference } from "#cluster/objects.ts";
import { argusCrons, argusSessions } from "#cluster/resources.ts";
import type { KubeClient, KubeObject } from "#cluster/types.ts";
import type { ArgusCronSpecInput } from "#crds/argus-cron.ts";
import { API_VERSION, type ArgusCron, type ArgusSession } from "#crds/kinds.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import { LABEL } from "#protocol/pod.ts";

/** Marks the schedules that the gateway made; a person's are only shown. */
const MANAGED_BY = "app.kubernetes.io/managed-by";
const GATEWAY = "argus-gateway";
const JOB = "argus.dev/job";
const JOB_ID = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;
/** Jobs that the gateway makes for one session. */
const MAX_JOBS = 50;

/** A schedule as the seed's clients know it. */
export interface CronJob {
  jobId: string;
  expr: string;
  text: string;
  enabled: boolean;
  timeZone: string;
  /** False: a person made it, and only a person changes it. */
  managed: boolean;
  lastRunAtMs?: number;
  nextRunAtMs?: number;
  lastState?: string;
}

export interface JobChange {
  expr?: string | undefined;
  text?: string | undefined;
  enabled?: boolean | undefined;
  timeZone?: string | undefined;
}

export interface CronsOptions {
  kube: KubeClient;
  namespace: string;
}

/** ArgusCrons of one session, for its agent and its clients. */
export class Crons {
  readonly #options: CronsOptions;

  constructor(options: CronsOptions) {
    this.#options = options;
  }

  async list(session: ArgusSession): Promise<CronJob[]> {
    return (await this.#of(session)).map(jobOf);
  }

  /** Makes the job, or replaces the one of the same id. Throws `InvalidInput`, `Forbidden` for a person's, `Busy` at the bound. */
  async put(
    session: ArgusSession,
    job: { jobId?: string | undefined; expr: string; text: string } & JobChange,
  ): Promise<CronJob> {
    const { jobId = randomBytes(5).toString("hex") } = job;
    if (!JOB_ID.test(jobId)) {
      throw new ArgusError("InvalidInput", "jobId: letters, digits, dots and dashes, at most 63");
    }
    const all = await this.#of(session);
    const old = all.find((cron) => idOf(cron) === jobId);
    if (old) refusePersons(old);
    else if (all.filter(isManaged).length >= MAX_JOBS) {
      const message = `The session has ${MAX_JOBS} schedules already: remove one first.`;
      throw new ArgusError("Busy", message);
    }
    return await this.#apply(session, jobId, job);
  }

  /** Throws `NotFound`, `Forbidden` for a person's, `InvalidInput`. */
  async update(session: ArgusSession, jobId: string, change: JobChange): Promise<CronJob> {
    const cron = await this.find(session, jobId);
    refusePersons(cron);
    const { expr, text, enabled, timeZone } = jobOf(cron);
    const known = Object.fromEntries(
      Object.entries(change).filter(([, value]) => value !== undefined),
    );
    return await this.#apply(session, jobId, { expr, text, enabled, timeZone, ...known });
  }

  /** Throws `NotFound`, `Forbidden` for a person's. */
  async remove(session: ArgusSession, jobId: string): Promise<void> {
    const { kube, namespace } = this.#options;
    const cron = await this.find(session, jobId);
    refusePersons(cron);
    const { name, uid } = cron.metadata;
    const ref = { resource: argusCrons, namespace, name };
    await kube.delete(ref, uid ? { uid } : {}).catch((error: unknown) => {
      if (!isNotFound(error)) throw error;
    });
  }

  /** Throws `NotFound`. */
  async find(session: ArgusSession, jobId: string): Promise<ArgusCron> {
    const cron = (await this.#of(session)).find((each) => idOf(each) === jobId);
    if (cron) return cron;
    throw new ArgusError("NotFound", "Job not found", { jobId });
  }

  async #of({ metadata }: ArgusSession): Promise<ArgusCron[]> {
    const { kube, namespace } = this.#options;
    const { items } = await kube.list<ArgusCron>(argusCrons, { namespace });
    return items
      .filter(({ spec }) => spec.sessionRef.name === metadata.name)
      .filter(
        (cron) => !isManaged(cron) || cron.metadata.labels?.[LABEL.sessionUid] === metadata.uid,
      )
      .toSorted((a, b) => idOf(a).localeCompare(idOf(b)));
  }

  async #apply(
    session: ArgusSession,
    jobId: string,
    { expr, text, enabled = true, timeZone }: JobChange & { expr: string; text: string },
  ): Promise<CronJob> {
    refuseSchedule(expr);
    const { name, uid = "" } = session.metadata;
    const hash = createHash("sha256").update(`${uid}/${jobId}`).digest("hex").slice(0, 16);
    const object: KubeObject & { spec: ArgusCronSpecInput } = {
      apiVersion: API_VERSION,
      kind: "ArgusCron",
      metadata: {
        name: `job-${hash}`,
        namespace: this.#options.namespace,
        labels: { [MANAGED_BY]: GATEWAY, [LABEL.sessionUid]: uid, [JOB]: jobId },
        ownerReferences: [{ ...ownerReference(argusSessions, session), blockOwnerDeletion: false }],
      },
      spec: {
        schedule: expr,
        ...(timeZone ? { timeZone } : {}),
        suspend: !enabled,
        sessionRef: { name },
        event: { text },
      },
    };
    const options = { fieldManager: GATEWAY, force: true };
    return jobOf((await this.#options.kube.apply(argusCrons, object, options)) as ArgusCron);
  }
}

function isManaged({ metadata }: ArgusCron): boolean {
  return metadata.labels?.[MANAGED_BY] === GATEWAY;
}

function idOf(cron: ArgusCron): string {
  return (isManaged(cron) && cron.metadata.labels?.[JOB]) || cron.metadata.name;
}

function refusePersons(cron: ArgusCron): void {
  if (isManaged(cron)) return;
  const { name } = cron.metadata;
  const message = `ArgusCron ${name} was made by a person: change it with kubectl, for example kubectl edit acron ${name}.`;
  throw new ArgusError("Forbidden", message, { name });
}

/** Read for this one answer and dropped: a pattern is dear in memory. Throws `InvalidInput`. */
function refuseSchedule(expr: string): void {
  let next: Date | null;
  try {
    next = new Cron(expr, { mode: "5-or-6-parts", utcOffset: 0 }).nextRun();
  } catch (error) {
    const message = `expr: ${JSON.stringify(expr)} cannot be read (${errorMessage(error)})`;
    throw new ArgusError("InvalidInput", message.slice(0, 1024));
  }
  if (next) return;
  const message = `expr: ${JSON.stringify(expr)} names a time that never comes`;
  throw new ArgusError("InvalidInput", message);
}

function jobOf(cron: ArgusCron): CronJob {
  const { spec, status } = cron;
  const ms = (time: string | undefined) => (time === undefined ? undefined : Date.parse(time));
  const last = ms(status?.lastRun?.slot);
  const next = ms(status?.nextScheduleTime);
  return {
    jobId: idOf(cron),
    expr: spec.schedule,
    text: spec.event.text,
    enabled: !spec.suspend,
    timeZone: spec.timeZone ?? "UTC",
    managed: isManaged(cron),
    ...(last === undefined ? {} : { lastRunAtMs: last }),
    ...(next === undefined ? {} : { nextRunAtMs: next }),
    ...(status?.lastRun ? { lastState: status.lastRun.state } : {}),
  };
}

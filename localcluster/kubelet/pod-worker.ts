import { chmod, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { backoffMs } from "#lib/clock.ts";
import { errorMessage } from "#lib/errors.ts";
import { neededByEnv, planContainer } from "./container-plan.ts";
import { terminationFile } from "./container-run.ts";
import { type ContainerHome, workContainer } from "./container-worker.ts";
import type { KubeletContext } from "./context.ts";
import type { PodFacts } from "./fields.ts";
import { HOST_IP, NODE_NAME } from "./node.ts";
import type { Container, Pod } from "./pod.ts";
import { parkRecords, removePod } from "./pod-end.ts";
import { effectiveOwner, podWorld, usedBy } from "./pod-world.ts";
import { restoreRecords } from "./restore.ts";
import { bindPod, whyNot } from "./schedule.ts";
import { type ContainerRecord, podStatus, unschedulable } from "./status.ts";
import { StatusWriter } from "./status-writer.ts";
import { giveTo, PodVolumes } from "./volumes.ts";
import { aborted, Wake } from "./wake.ts";

const RETRY = { baseMs: 1000, maxMs: 30_000 };
const DEFAULT_GRACE_SECONDS = 30;
const DEFAULT_MESSAGE_PATH = "/dev/termination-log";
/** Volumes are looked at again this often even when nothing seems to have changed. */
const REFRESH_MS = 10 * 60_000;

/** One pod, from the moment it is seen until its object is gone or the kubelet stops. */
export class PodWorker {
  readonly done: Promise<void>;
  readonly #context: KubeletContext;
  readonly #uid: string;
  readonly #folder: string;
  readonly #volumes: PodVolumes;
  readonly #records: { init: ContainerRecord[]; app: ContainerRecord[] };
  readonly #status: StatusWriter;
  readonly #ending = new AbortController();
  readonly #hurry = new AbortController();
  readonly #stopping = new AbortController();
  readonly #wake = new Wake();
  readonly #startedMs = Date.now();
  #pod: Pod;
  #facts: PodFacts = { podIp: "", hostIp: HOST_IP, nodeName: NODE_NAME };
  #unschedulable: string | undefined;
  /** Bound of the grace when the kubelet stops; undefined = the pod itself ends. */
  #stopGraceMs: number | undefined;
  #objectGone = false;

  constructor(pod: Pod, context: KubeletContext) {
    this.#pod = pod;
    this.#context = context;
    this.#uid = pod.metadata.uid ?? "";
    this.#folder = join(context.podsFolder, this.#uid);
    this.#volumes = new PodVolumes(context, this.#folder);
    const cut = [...context.lost].filter((key) => key.startsWith(`${this.#uid}/`));
    const lost = new Set(cut.map((key) => key.slice(this.#uid.length + 1)));
    this.#records = restoreRecords({ pod, lost }, this.#startedMs);
    this.#status = new StatusWriter(context, pod, (before) => this.#compute(before));
    if (pod.metadata.deletionTimestamp) this.#ending.abort();
    this.done = this.#live();
  }

  /** The object changed. */
  update(pod: Pod): void {
    this.#pod = pod;
    if (pod.metadata.deletionTimestamp) this.#ending.abort();
    if (pod.metadata.deletionGracePeriodSeconds === 0) this.#hurry.abort();
  }

  /** The object was removed without us: end at once. */
  gone(): void {
    this.#objectGone = true;
    this.#hurry.abort();
    this.#ending.abort();
  }

  /** The kubelet stops: end the processes within `graceMs`, keep the pod. */
  stop(graceMs: number): void {
    if (!this.#ending.signal.aborted) this.#stopGraceMs = graceMs;
    this.#stopping.abort();
    this.#ending.abort();
  }

  /** A Secret, ConfigMap or claim changed; `used` = `secrets/<name>` and the like, undefined = any. */
  resync(used?: string): void {
    if (used === undefined || usedBy(this.#pod).has(used)) this.#wake.fire();
  }

  async #live(): Promise<void> {
    const over = new AbortController();
    const writing = this.#status.run(over.signal);
    const { signal } = this.#ending;
    try {
      const { phase } = this.#pod.status ?? {};
      if (phase !== "Succeeded" && phase !== "Failed" && (await this.#prepare())) {
        const refreshing = this.#refresh(signal);
        await this.#runAll();
        this.#status.changed();
        await aborted(signal);
        await refreshing;
      } else await aborted(signal);
    } catch (error) {
      const facts = { pod: this.#pod.metadata.name, error: errorMessage(error) };
      this.#context.logger.error(facts, "pod stopped by an unexpected error");
      this.#event("Warning", "FailedPod", errorMessage(error));
      await aborted(signal);
    }
    over.abort();
    await writing;
    await (this.#stopGraceMs === undefined ? this.#remove() : this.#park());
  }

  async #remove(): Promise<void> {
    const ending = { pod: this.#pod, folder: this.#folder, objectGone: this.#objectGone };
    if (!this.#objectGone) await this.#lastStatus();
    await removePod(this.#context, ending, this.#stopping.signal);
  }

  async #park(): Promise<void> {
    parkRecords(this.#pod, [...this.#records.init, ...this.#records.app]);
    await this.#lastStatus();
  }

  async #lastStatus(): Promise<void> {
    const { phase } = this.#pod.status ?? {};
    if (phase === "Succeeded" || phase === "Failed" || !this.#facts.podIp) return;
    await this.#status.flush().catch((error: unknown) => {
      const facts = { pod: this.#pod.metadata.name, error: errorMessage(error) };
      this.#context.logger.warn(facts, "last pod status not written");
    });
  }

  /** Node, address, volumes; tried until they are there. False when the pod ends before. */
  async #prepare(): Promise<boolean> {
    const { signal } = this.#ending;
    for (let tries = 0; !signal.aborted; tries += 1) {
      try {
        await this.#schedule();
        if (this.#unschedulable === undefined) {
          await this.#takeAddress();
          await this.#mount();
          return true;
        }
      } catch (error) {
        this.#event("Warning", "FailedMount", errorMessage(error));
      }
      this.#status.changed();
      await this.#wake.wait(backoffMs(tries, RETRY), signal);
    }
    return false;
  }

  async #schedule(): Promise<void> {
    const { metadata, spec } = this.#pod;
    const namespace = metadata.namespace ?? "default";
    if (spec.nodeName === NODE_NAME) return;
    this.#unschedulable = whyNot(this.#pod, this.#context);
    if (this.#unschedulable) {
      this.#event("Warning", "FailedScheduling", this.#unschedulable);
      return;
    }
    await bindPod(this.#context, this.#pod);
    this.#pod = { ...this.#pod, spec: { ...spec, nodeName: NODE_NAME } };
    const message = `Successfully assigned ${namespace}/${metadata.name} to ${NODE_NAME}`;
    this.#event("Normal", "Scheduled", message);
  }

  async #takeAddress(): Promise<void> {
    if (this.#facts.podIp) return;
    const { addresses } = this.#context;
    const { spec, status } = this.#pod;
    const kept = status?.podIP && addresses.reserve(this.#uid, status.podIP) && status.podIP;
    const ports = spec.containers.flatMap(({ ports = [] }) => ports);
    const podIp =
      kept ||
      (await addresses.allocate(
        this.#uid,
        ports.map(({ containerPort }) => containerPort),
      ));
    this.#facts = { ...this.#facts, podIp };
    this.#status.changed();
  }

  async #mount(): Promise<void> {
    const [first] = this.#pod.spec.containers;
    if (!first) return;
    const { owner, shortfall } = await effectiveOwner(this.#context, this.#pod, first);
    if (shortfall) {
      const message = "runs as the user of argus up: the user that it asks for cannot work here";
      this.#event("Warning", "SharedUser", message);
    }
    await mkdir(this.#folder, { recursive: true });
    await giveTo(this.#folder, owner);
    // Containers of several users must all get in; what lies inside has its own modes.
    const users = this.#pod.spec.containers.map(
      ({ securityContext }) => securityContext?.runAsUser,
    );
    if (new Set(users).size > 1) await chmod(this.#folder, 0o711);
    const needed = [...usedBy(this.#pod)];
    const input = { facts: this.#facts, needed, mappings: [] };
    await this.#volumes.mount(this.#pod, await podWorld(this.#context, this.#pod, input), owner);
  }

  /** Keeps files of API objects and tokens fresh. */
  async #refresh(signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted; ) {
      const dueMs =
        failures > 0 ? backoffMs(failures, RETRY) : this.#volumes.renewAtMs - Date.now();
      await this.#wake.wait(Math.max(0, Math.min(dueMs, REFRESH_MS)), signal);
      if (signal.aborted) return;
      try {
        await this.#mount();
        failures = 0;
      } catch (error) {
        failures += 1;
        this.#event("Warning", "FailedMount", errorMessage(error));
      }
    }
  }

  async #runAll(): Promise<void> {
    const { spec } = this.#pod;
    for (const [index, container] of (spec.initContainers ?? []).entries()) {
      const record = this.#records.init[index];
      if (!record || this.#ending.signal.aborted) return;
      await workContainer(this.#home(), container, { record, init: true });
      if (record.state.terminated?.exitCode !== 0) return;
    }
    await Promise.all(
      spec.containers.map(async (container, index) => {
        const record = this.#records.app[index];
        if (!record || record.state.terminated) return;
        await workContainer(this.#home(), container, { record, init: false });
      }),
    );
  }

  #home(): ContainerHome {
    const { signal } = this.#ending;
    const folderOf = ({ name }: Container) => join(this.#folder, "containers", name);
    return {
      context: this.#context,
      podUid: this.#uid,
      podIp: this.#facts.podIp,
      restartPolicy: this.#pod.spec.restartPolicy ?? "Always",
      graceMs: () => this.#graceMs(),
      signal,
      hurry: this.#hurry.signal,
      folderOf,
      alone: ({ name }) =>
        this.#pod.spec.containers.every((each) => each.name === name) ||
        this.#records.init.some((record) => record.name === name),
      changed: () => this.#status.changed(),
      event: ({ type, reason, message }) => this.#event(type, reason, message),
      pause: (ms, early) => (early ? this.#wake : new Wake()).wait(ms, signal),
      plan: async (container) => {
        const inside = container.terminationMessagePath ?? DEFAULT_MESSAGE_PATH;
        const message = { inside, outside: terminationFile(folderOf(container)) };
        const mappings = [...this.#volumes.mappings(container), message];
        const input = { facts: this.#facts, needed: neededByEnv(container), mappings };
        const world = await podWorld(this.#context, this.#pod, input);
        const { owner } = await effectiveOwner(this.#context, this.#pod, container);
        return { plan: planContainer(this.#pod, container, world), owner };
      },
    };
  }

  #graceMs(): number {
    const { metadata, spec } = this.#pod;
    const own = spec.terminationGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS;
    const graceMs = (metadata.deletionGracePeriodSeconds ?? own) * 1000;
    return Math.min(graceMs, this.#stopGraceMs ?? graceMs);
  }

  #compute(before: Pod["status"]) {
    const pod = { ...this.#pod, ...(before && { status: before }) };
    if (this.#unschedulable !== undefined)
      return unschedulable(pod, this.#unschedulable, Date.now());
    const { init, app } = this.#records;
    const input = { pod, facts: this.#facts, init, app, startedMs: this.#startedMs };
    return podStatus(input, Date.now());
  }

  #event(type: "Normal" | "Warning", reason: string, message: string): void {
    const pod = { ...this.#pod, apiVersion: "v1", kind: "Pod" };
    this.#context.events.record(pod, { type, reason, message });
  }
}

import type { Logger } from "#lib/logger.ts";
import { FOREGROUND, INSTANCES, type ObjectRemover, ORPHAN } from "./deletion.ts";
import { at, type StoredObject } from "./object.ts";
import { DEFINITIONS, type Registry } from "./registry.ts";
import type { ObjectStore, StoreEvent } from "./store.ts";

interface Item {
  storage: string;
  object: StoredObject;
}

interface Parts {
  store: ObjectStore;
  registry: Registry;
  remover: ObjectRemover;
  logger: Logger;
}

/**
 * Deletes what nobody owns any more, and finishes deletions that wait for others: orphaning and foreground
 * deletion, namespaces with their contents, definitions with their objects. Each pass looks at the whole state
 * and makes at least one step, so an interrupted one is simply continued.
 */
export class GarbageCollector {
  readonly #parts: Parts;
  #scheduled = false;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  start(): void {
    this.#parts.store.subscribe((event) => {
      if (concerns(event)) this.#schedule();
    });
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    // After the answer that caused it has been written.
    setImmediate(() => {
      this.#scheduled = false;
      try {
        this.#sweep();
      } catch (error) {
        this.#parts.logger.error({ err: error }, "garbage collection failed");
      }
    });
  }

  #sweep(): void {
    const items = [...this.#parts.store.all()];
    const living = new Map(items.map((item) => [item.object.metadata.uid, item.object]));
    for (const item of items) {
      if (item.object.metadata.ownerReferences?.length) this.#checkOwners(item, living);
    }
    for (const item of items) {
      if (item.object.metadata.deletionTimestamp) this.#finish(item, items);
    }
  }

  #checkOwners({ storage, object }: Item, living: Map<string | undefined, StoredObject>): void {
    const owners = object.metadata.ownerReferences ?? [];
    const present = owners.filter(({ uid }) => living.has(uid));
    if (present.length === owners.length) return;
    if (present.length > 0) {
      this.#change({ storage, object }, { ownerReferences: present });
    } else this.#delete({ storage, object });
  }

  #finish(item: Item, items: Item[]): void {
    const { metadata } = item.object;
    if (item.storage === "/namespaces") this.#finishNamespace(item, items);
    const dependents = items.filter(({ object }) =>
      object.metadata.ownerReferences?.some(({ uid }) => uid === metadata.uid),
    );
    if (metadata.finalizers?.includes(ORPHAN)) {
      for (const dependent of dependents) this.#release(dependent, metadata.uid);
      this.#removeFinalizer(item, ORPHAN);
    }
    if (metadata.finalizers?.includes(FOREGROUND)) this.#finishAfter(item, dependents, FOREGROUND);
    if (item.storage === DEFINITIONS && metadata.finalizers?.includes(INSTANCES)) {
      const storage = `${String(at(item.object, "spec", "group"))}/${String(at(item.object, "spec", "names", "plural"))}`;
      const instances = items.filter((each) => each.storage === storage);
      this.#finishAfter(item, instances, INSTANCES);
    }
  }

  #finishAfter(item: Item, others: Item[], finalizer: string): void {
    if (others.length === 0) this.#removeFinalizer(item, finalizer);
    for (const other of others) this.#delete(other);
  }

  #finishNamespace(item: Item, items: Item[]): void {
    const { name } = item.object.metadata;
    const contents = items.filter(({ object }) => object.metadata.namespace === name);
    for (const each of contents) this.#delete(each);
    if (contents.length === 0) this.#parts.store.remove(item.storage, item.object);
  }

  #release(item: Item, owner: string | undefined): void {
    const { ownerReferences = [] } = item.object.metadata;
    this.#change(item, { ownerReferences: ownerReferences.filter(({ uid }) => uid !== owner) });
  }

  #removeFinalizer(item: Item, finalizer: string): void {
    const { finalizers = [] } = item.object.metadata;
    this.#change(item, { finalizers: finalizers.filter((each) => each !== finalizer) });
  }

  /** Stores the object with changed metadata, or removes it when nothing holds it any more. */
  #change({ storage, object }: Item, change: Partial<StoredObject["metadata"]>): void {
    const current = this.#current({ storage, object });
    if (!current) return;
    const next = { ...current, metadata: { ...current.metadata, ...change } };
    for (const list of ["finalizers", "ownerReferences"] as const) {
      if (next.metadata[list]?.length === 0) delete next.metadata[list];
    }
    const { deletionTimestamp, deletionGracePeriodSeconds, finalizers } = next.metadata;
    if (deletionTimestamp && !deletionGracePeriodSeconds && !finalizers?.length) {
      this.#parts.store.remove(storage, next);
    } else this.#parts.store.put(storage, next);
  }

  #delete({ storage, object }: Item): void {
    const current = this.#current({ storage, object });
    const type = this.#parts.registry.byStorage(storage);
    if (!current || !type || current.metadata.deletionTimestamp) return;
    const { namespace, name } = current.metadata;
    this.#parts.remover.delete(
      { type, namespace, name, subresource: "" },
      { dryRun: false, propagationPolicy: "Background" },
    );
  }

  /** Its present state: an earlier step of the same pass may have changed or removed it. */
  #current({ storage, object }: Item): StoredObject | undefined {
    const { namespace, name, uid } = object.metadata;
    const current = this.#parts.store.get(storage, namespace, name);
    return current?.metadata.uid === uid ? current : undefined;
  }
}

const concerns = ({ type, object: { metadata } }: StoreEvent) =>
  type === "DELETED" ||
  metadata.deletionTimestamp !== undefined ||
  (metadata.ownerReferences?.length ?? 0) > 0;

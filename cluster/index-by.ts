import { keyOf } from "./objects.ts";
import type { Informer, KubeObject } from "./types.ts";

/** Objects of an informer by a value of theirs, for example pods by the session they belong to. */
export class IndexBy<T extends KubeObject> {
  readonly #informer: Informer<T>;
  readonly #keys = new Map<string, Set<string>>();
  readonly #values = new Map<string, string>();

  /** @param valueOf the value that an object is found by; undefined = not indexed. */
  constructor(informer: Informer<T>, valueOf: (object: T) => string | undefined) {
    this.#informer = informer;
    const put = (object: T) => this.#put(keyOf(object), valueOf(object));
    informer.list().forEach(put);
    informer.onChange((key, object, change) => {
      if (change === "deleted") this.#put(key, undefined);
      else put(object);
    });
  }

  get(value: string): T[] {
    const keys = this.#keys.get(value) ?? [];
    return [...keys].map((key) => this.#informer.get(key)).filter((object) => object !== undefined);
  }

  #put(key: string, value: string | undefined): void {
    const old = this.#values.get(key);
    if (old === value) return;
    if (old !== undefined) this.#remove(old, key);
    if (value === undefined) return;
    this.#values.set(key, value);
    const keys = this.#keys.get(value) ?? new Set();
    this.#keys.set(value, keys.add(key));
  }

  #remove(value: string, key: string): void {
    this.#values.delete(key);
    const keys = this.#keys.get(value);
    keys?.delete(key);
    if (keys?.size === 0) this.#keys.delete(value);
  }
}

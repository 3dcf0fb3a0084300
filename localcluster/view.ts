import type { Clock } from "#lib/clock.ts";
import type { Listing } from "./listing.ts";
import type { StoredObject } from "./object.ts";
import type { Form } from "./request.ts";
import { apiVersionOf, type ResourceType } from "./resource-type.ts";
import { partialMetadata, tableOf } from "./table.ts";

interface ViewOptions {
  type: ResourceType;
  form: Form;
  /** `includeObject` of the query. */
  include: string | null;
  clock: Clock;
}

/** Objects in the form that the client asked for: as they are, their metadata only, or as a table. */
export class View {
  readonly #options: ViewOptions;
  #withColumns = true;

  constructor(options: ViewOptions) {
    this.#options = options;
  }

  one(object: StoredObject): unknown {
    const { resourceVersion } = object.metadata;
    const { form } = this.#options;
    if (form === "object") return object;
    if (form === "metadata") return partialMetadata(object);
    return this.#table([object], { resourceVersion });
  }

  /** As `one`, for an object of a stream: column titles come with the first only. */
  next(object: StoredObject): unknown {
    const shown = this.one(object);
    this.#withColumns = false;
    return shown;
  }

  list({ items, metadata }: Listing): unknown {
    const { type, form } = this.#options;
    if (form === "table") return this.#table(items, metadata);
    if (form === "object") {
      return { kind: `${type.kind}List`, apiVersion: apiVersionOf(type), metadata, items };
    }
    return {
      kind: "PartialObjectMetadataList",
      apiVersion: "meta.k8s.io/v1",
      metadata,
      items: items.map(partialMetadata),
    };
  }

  #table(objects: StoredObject[], metadata: object) {
    const { type, include, clock } = this.#options;
    const nowMs = clock.now();
    const { toStored, columns } = type;
    // Columns are written for the stored form.
    const stored = toStored ? objects.map((object) => toStored(object)) : objects;
    return tableOf(stored, { columns, nowMs, include, metadata, withColumns: this.#withColumns });
  }
}

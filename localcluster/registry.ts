import { CORE_TYPES } from "./core-kinds.ts";
import { customTypes, definitionErrors, prepareDefinition } from "./custom-kinds.ts";
import type { ResourceType } from "./resource-type.ts";
import type { ObjectStore } from "./store.ts";

export const DEFINITIONS = "apiextensions.k8s.io/customresourcedefinitions";

/** Every resource that is served now: the built-in ones and those of the stored definitions. */
export class Registry {
  readonly #store: ObjectStore;
  #types: ResourceType[] = [];

  constructor(store: ObjectStore) {
    this.#store = store;
    this.#load();
    store.subscribe(({ storage }) => {
      if (storage === DEFINITIONS) this.#load();
    });
  }

  types(): readonly ResourceType[] {
    return this.#types;
  }

  find(group: string, version: string, plural: string): ResourceType | undefined {
    return this.#types.find(
      (type) => type.group === group && type.version === version && type.plural === plural,
    );
  }

  byStorage(storage: string): ResourceType | undefined {
    return this.#types.find((type) => type.storage === storage);
  }

  #load(): void {
    const custom = this.#store.list(DEFINITIONS).flatMap((crd) => customTypes(crd));
    this.#types = [...CORE_TYPES.map(withDefinitionRules), ...custom];
  }
}

function withDefinitionRules(type: ResourceType): ResourceType {
  if (type.storage !== DEFINITIONS) return type;
  const validate = definitionErrors;
  return { ...type, rules: { prepare: prepareDefinition, validate } };
}

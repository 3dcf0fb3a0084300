import { isDeepStrictEqual } from "node:util";
import { at, type Fields, fieldsOf, isFields, type StoredObject, textOf } from "./object.ts";
import { type FieldError, forbiddenField, invalidValue, required } from "./status.ts";

/** What a built-in kind does beyond its schema. `prepare` may change `next`, which nobody else holds yet. */
export interface Rules {
  prepare?(next: StoredObject, old: StoredObject | undefined): void;
  validate?(next: StoredObject, old: StoredObject | undefined): FieldError[];
}

const list = (value: unknown): Fields[] => (Array.isArray(value) ? value.filter(isFields) : []);
const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

function containersOf(pod: StoredObject): Fields[] {
  const spec = fieldsOf(pod.spec);
  return [...list(spec.initContainers), ...list(spec.containers)];
}

function preparePod(pod: StoredObject, old: StoredObject | undefined): void {
  const spec = fieldsOf(pod.spec);
  spec.serviceAccountName ??= "default";
  spec.serviceAccount ??= spec.serviceAccountName;
  for (const container of containersOf(pod)) {
    const image = textOf(container.image);
    const latest = image.endsWith(":latest") || !/[:@][^/]+$/.test(image);
    container.imagePullPolicy ??= latest ? "Always" : "IfNotPresent";
  }
  if (!old) pod.status = { phase: "Pending", qosClass: qosClass(pod) };
}

function qosClass(pod: StoredObject): string {
  const resources = containersOf(pod).map((each) => fieldsOf(each.resources));
  if (resources.every((each) => !each.limits && !each.requests)) return "BestEffort";
  const guaranteed = resources.every(
    ({ limits, requests }) =>
      at(limits, "cpu") &&
      at(limits, "memory") &&
      (!requests || isDeepStrictEqual(limits, requests)),
  );
  return guaranteed ? "Guaranteed" : "Burstable";
}

function validatePod(pod: StoredObject, old: StoredObject | undefined): FieldError[] {
  const spec = fieldsOf(pod.spec);
  const containers = list(spec.containers);
  const errors: FieldError[] = containers.length === 0 ? [required("spec.containers")] : [];
  for (const field of ["initContainers", "containers"]) {
    list(spec[field]).forEach((container, index) => {
      errors.push(...containerErrors(container, `spec.${field}[${index}]`, list(spec.volumes)));
    });
  }
  if (!["Always", "OnFailure", "Never"].includes(String(spec.restartPolicy))) {
    errors.push(unsupportedPolicy(spec.restartPolicy));
  }
  if (old) errors.push(...podChangeErrors(spec, fieldsOf(old.spec)));
  return errors;
}

const unsupportedPolicy = (value: unknown): FieldError => ({
  reason: "FieldValueNotSupported",
  field: "spec.restartPolicy",
  message: `Unsupported value: ${JSON.stringify(value)}: supported values: "Always", "OnFailure", "Never"`,
});

const LABEL_HINT =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

function containerErrors(container: Fields, path: string, volumes: Fields[]): FieldError[] {
  const errors: FieldError[] = [];
  if (!container.name) errors.push(required(`${path}.name`));
  else if (!LABEL.test(textOf(container.name))) {
    errors.push(invalidValue(`${path}.name`, container.name, LABEL_HINT));
  }
  if (!container.image) errors.push(required(`${path}.image`));
  errors.push(...resourceErrors(container, path));
  list(container.volumeMounts).forEach(({ name }, index) => {
    if (volumes.some((volume) => volume.name === name)) return;
    const field = `${path}.volumeMounts[${index}].name`;
    errors.push({
      reason: "FieldValueInvalid",
      field,
      message: `Not found: ${JSON.stringify(name)}`,
    });
  });
  return errors;
}

const STANDARD = /^(cpu|memory|ephemeral-storage|hugepages-.+|.+\/.+)$/;

/** A resource without a domain must be one that every server knows. */
function resourceErrors(container: Fields, path: string): FieldError[] {
  return ["limits", "requests"].flatMap((kind) =>
    Object.keys(fieldsOf(at(container, "resources", kind)))
      .filter((name) => !STANDARD.test(name))
      .map((name) => {
        const why = "must be a standard resource for containers";
        return invalidValue(`${path}.resources.${kind}[${name}]`, name, why);
      }),
  );
}

const POD_CHANGE =
  "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

function podChangeErrors(spec: Fields, old: Fields): FieldError[] {
  return isDeepStrictEqual(fixedPart(spec), fixedPart(old))
    ? []
    : [forbiddenField("spec", POD_CHANGE)];
}

function fixedPart(spec: Fields): Fields {
  const {
    activeDeadlineSeconds: _deadline,
    tolerations: _tolerations,
    terminationGracePeriodSeconds: _grace,
    ...rest
  } = spec;
  const withoutImages = (containers: unknown) =>
    list(containers).map(({ image: _image, ...each }) => each);
  return {
    ...rest,
    containers: withoutImages(spec.containers),
    initContainers: withoutImages(spec.initContainers),
  };
}

/** A claim is bound at once: its folder is made when a pod first uses it. */
function prepareClaim(claim: StoredObject, old: StoredObject | undefined): void {
  if (old) return;
  const spec = fieldsOf(claim.spec);
  spec.volumeName ??= `pvc-${claim.metadata.uid}`;
  spec.storageClassName ??= "standard";
  claim.status = {
    phase: "Bound",
    accessModes: spec.accessModes,
    capacity: at(spec, "resources", "requests"),
  };
}

function validateClaim(claim: StoredObject, old: StoredObject | undefined): FieldError[] {
  const spec = fieldsOf(claim.spec);
  const errors: FieldError[] = [];
  if (!Array.isArray(spec.accessModes) || spec.accessModes.length === 0) {
    errors.push(required("spec.accessModes", "at least 1 access mode is required"));
  }
  if (at(spec, "resources", "requests", "storage") === undefined) {
    errors.push(required("spec.resources[storage]"));
  }
  const { resources: _, ...fixed } = spec;
  const { resources: __, ...before } = fieldsOf(old?.spec);
  if (old && !isDeepStrictEqual(fixed, before)) {
    const why =
      "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
    errors.push(forbiddenField("spec", why));
  }
  return errors;
}

function prepareSecret(secret: StoredObject): void {
  for (const [key, value] of Object.entries(fieldsOf(secret.stringData))) {
    secret.data = {
      ...fieldsOf(secret.data),
      [key]: Buffer.from(String(value)).toString("base64"),
    };
  }
  delete secret.stringData;
}

function validateData(next: StoredObject, old: StoredObject | undefined): FieldError[] {
  const errors = ["data", "binaryData"].flatMap((field) =>
    Object.keys(fieldsOf(next[field]))
      .filter((key) => !/^[-._a-zA-Z0-9]{1,253}$/.test(key))
      .map((key) =>
        invalidValue(
          `${field}[${key}]`,
          key,
          "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
        ),
      ),
  );
  for (const field of old?.immutable === true ? ["immutable", "data", "binaryData"] : []) {
    if (!isDeepStrictEqual(next[field], old?.[field])) {
      errors.push(forbiddenField(field, "field is immutable when `immutable` is set"));
    }
  }
  if (old && next.type !== old.type) {
    errors.push(invalidValue("type", next.type, "field is immutable"));
  }
  return errors;
}

function prepareNamespace(namespace: StoredObject, old: StoredObject | undefined): void {
  const labels = {
    ...namespace.metadata.labels,
    "kubernetes.io/metadata.name": namespace.metadata.name,
  };
  namespace.metadata.labels = labels;
  namespace.spec ??= { finalizers: ["kubernetes"] };
  if (!old) namespace.status = { phase: "Active" };
}

export const RULES: Record<string, Rules> = {
  pods: { prepare: preparePod, validate: validatePod },
  persistentvolumeclaims: { prepare: prepareClaim, validate: validateClaim },
  secrets: { prepare: prepareSecret, validate: validateData },
  configmaps: { validate: validateData },
  namespaces: { prepare: prepareNamespace },
};

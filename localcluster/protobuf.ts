import { type Fields, isFields, textOf } from "./object.ts";
import { badRequest } from "./status.ts";

/**
 * kubectl sends the built-in kinds that it makes itself (secrets, config maps, tokens, reviews) as protobuf only.
 * This reads those few kinds into the JSON form; answers are always JSON.
 */

type Kind = "string" | "bytes" | "int" | "bool" | "map" | "bytesMap" | Message;
/** Field number → name and kind; a trailing `[]` in the name marks a list. */
interface Message {
  [number: number]: [name: string, kind: Kind];
}

const OWNER: Message = {
  1: ["kind", "string"],
  3: ["name", "string"],
  4: ["uid", "string"],
  5: ["apiVersion", "string"],
  6: ["controller", "bool"],
  7: ["blockOwnerDeletion", "bool"],
};
const META: Message = {
  1: ["name", "string"],
  2: ["generateName", "string"],
  3: ["namespace", "string"],
  5: ["uid", "string"],
  6: ["resourceVersion", "string"],
  11: ["labels", "map"],
  12: ["annotations", "map"],
  13: ["ownerReferences[]", OWNER],
  14: ["finalizers[]", "string"],
};
const metadata: [string, Kind] = ["metadata", META];
const BOUND: Message = {
  1: ["kind", "string"],
  2: ["apiVersion", "string"],
  3: ["name", "string"],
  4: ["uid", "string"],
};
const RESOURCE: Message = {
  1: ["namespace", "string"],
  2: ["verb", "string"],
  3: ["group", "string"],
  4: ["version", "string"],
  5: ["resource", "string"],
  6: ["subresource", "string"],
  7: ["name", "string"],
};

const MESSAGES: Record<string, Message> = {
  Secret: {
    1: metadata,
    2: ["data", "bytesMap"],
    3: ["type", "string"],
    4: ["stringData", "map"],
    5: ["immutable", "bool"],
  },
  ConfigMap: {
    1: metadata,
    2: ["data", "map"],
    3: ["binaryData", "bytesMap"],
    4: ["immutable", "bool"],
  },
  ServiceAccount: { 1: metadata, 4: ["automountServiceAccountToken", "bool"] },
  Namespace: { 1: metadata },
  SelfSubjectReview: { 1: metadata },
  SelfSubjectAccessReview: {
    1: metadata,
    2: [
      "spec",
      {
        1: ["resourceAttributes", RESOURCE],
        2: ["nonResourceAttributes", { 1: ["path", "string"], 2: ["verb", "string"] }],
      },
    ],
  },
  TokenReview: {
    1: metadata,
    2: ["spec", { 1: ["token", "string"], 2: ["audiences[]", "string"] }],
  },
  TokenRequest: {
    1: metadata,
    2: [
      "spec",
      {
        1: ["audiences[]", "string"],
        3: ["boundObjectRef", BOUND],
        4: ["expirationSeconds", "int"],
      },
    ],
  },
  DeleteOptions: {
    1: ["gracePeriodSeconds", "int"],
    2: ["preconditions", { 1: ["uid", "string"], 2: ["resourceVersion", "string"] }],
    3: ["orphanDependents", "bool"],
    4: ["propagationPolicy", "string"],
    5: ["dryRun[]", "string"],
  },
};

export const PROTOBUF = "application/vnd.kubernetes.protobuf";
const MAGIC = Buffer.from("k8s\0");
const ENVELOPE: Message = {
  1: ["typeMeta", { 1: ["apiVersion", "string"], 2: ["kind", "string"] }],
  2: ["raw", "bytes"],
};

/** The JSON form of a protobuf body; undefined for a kind that this server reads only as JSON. Throws 400. */
export function decodeProtobuf(body: Buffer): Fields | undefined {
  if (!body.subarray(0, MAGIC.length).equals(MAGIC))
    throw badRequest("the body is not Kubernetes protobuf");
  const { typeMeta, raw } = message(body.subarray(MAGIC.length), ENVELOPE);
  const { apiVersion, kind } = isFields(typeMeta) ? typeMeta : {};
  const shape = MESSAGES[String(kind)];
  if (!shape) return undefined;
  const fields = message(Buffer.from(textOf(raw), "base64"), shape);
  return { apiVersion, kind, ...fields };
}

function message(bytes: Buffer, shape: Message): Fields {
  const result: Fields = {};
  const reader = new Reader(bytes);
  while (!reader.done) {
    const { number, value } = reader.field();
    const [label, kind] = shape[number] ?? [];
    if (label && kind) put(result, label, decoded(value, kind));
  }
  return result;
}

function put(result: Fields, label: string, value: unknown): void {
  const name = label.replace("[]", "");
  const old = result[name];
  if (label !== name) result[name] = Array.isArray(old) ? [...old, value] : [value];
  else if (isFields(value) && isFields(old)) result[name] = { ...old, ...value };
  // Empty text stands for an absent field.
  else if (value !== "") result[name] = value;
}

function decoded(value: Buffer | number, kind: Kind): unknown {
  if (typeof value === "number") return kind === "bool" ? value !== 0 : value;
  if (kind === "string") return value.toString("utf8");
  if (kind === "bytes") return value.toString("base64");
  if (kind === "map" || kind === "bytesMap") {
    const text = kind === "map" ? "string" : "bytes";
    const entry = message(value, { 1: ["key", "string"], 2: ["value", text] });
    return { [textOf(entry.key)]: entry.value ?? "" };
  }
  return typeof kind === "object" ? message(value, kind) : undefined;
}

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }

  field(): { number: number; value: Buffer | number } {
    const tag = this.#varint();
    const number = Math.floor(tag / 8);
    switch (tag % 8) {
      case VARINT:
        return { number, value: this.#varint() };
      case BYTES:
        return { number, value: this.#take(this.#varint()) };
      case FIXED64:
        return { number, value: this.#take(8) };
      case FIXED32:
        return { number, value: this.#take(4) };
      default:
        throw badRequest("the body is broken protobuf");
    }
  }

  #varint(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined || scale > 2 ** 63) throw badRequest("the body is broken protobuf");
      value += (byte % 128) * scale;
      if (byte < 128) return value;
    }
  }

  #take(length: number): Buffer {
    if (this.#at + length > this.#bytes.length) throw badRequest("the body is broken protobuf");
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }
}

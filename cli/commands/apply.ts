import { readFileSync } from "node:fs";
import { parseAllDocuments } from "yaml";
import { z } from "zod";
import { KubeError } from "#cluster/kube-error.ts";
import { argusCrons, argusSessions } from "#cluster/resources.ts";
import type { KubeClient, KubeObject, Resource } from "#cluster/types.ts";
import { API_VERSION } from "#crds/kinds.ts";
import { ArgusError, errorMessage, isErrno } from "#lib/errors.ts";
import { withCluster } from "../cluster-access.ts";
import type { Environment } from "../config.ts";
import { EXIT } from "../exit.ts";

export interface ApplyCommand {
  file: string;
  namespace: string;
  force?: boolean;
  data?: string;
  environment: Environment;
}

const FIELD_MANAGER = "argus-apply";
const RESOURCES = [argusSessions, argusCrons];

const Manifest = z.looseObject({
  apiVersion: z.literal(API_VERSION, { error: `must be ${API_VERSION}` }),
  kind: z.enum(["ArgusSession", "ArgusCron"], { error: "must be ArgusSession or ArgusCron" }),
  metadata: z.looseObject({
    name: z.string({ error: "is missing" }).min(1),
    namespace: z.string().optional(),
  }),
});

export interface Document {
  resource: Resource;
  object: KubeObject;
}

/** The objects of a YAML stream. Throws InvalidInput that names the document and the field. */
export function readManifests(text: string, namespace: string): Document[] {
  const documents = parseAllDocuments(text);
  if (!Array.isArray(documents)) return [];
  return documents.flatMap((document, index) => {
    const place = `document ${index + 1}`;
    const syntax = document.errors[0];
    if (syntax) throw new ArgusError("InvalidInput", `${place} is not YAML: ${syntax.message}`);
    const value: unknown = document.toJS();
    return value === null || value === undefined ? [] : [manifest(value, place, namespace)];
  });
}

function manifest(value: unknown, place: string, namespace: string): Document {
  const parsed = Manifest.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const field = issue?.path.join(".") || "it";
    throw new ArgusError("InvalidInput", `${place}: ${field} ${issue?.message ?? "is wrong"}`);
  }
  const { kind, metadata } = parsed.data;
  const resource = RESOURCES.find((known) => known.kind === kind) ?? argusSessions;
  return { resource, object: { ...parsed.data, metadata: { namespace, ...metadata } } };
}

/** `argus apply -f`: each object by server-side apply, in order; the first refusal ends it. */
export async function apply(command: ApplyCommand): Promise<number> {
  const documents = readManifests(readInput(command.file), command.namespace);
  if (documents.length === 0) {
    throw new ArgusError("InvalidInput", `${command.file} holds no object`);
  }
  await withCluster(command, async (kube) => {
    for (const document of documents) await applyOne(kube, document, command.force === true);
  });
  return EXIT.ok;
}

async function applyOne(kube: KubeClient, document: Document, force: boolean): Promise<void> {
  const { resource, object } = document;
  const name = `${resource.plural.replace(/s$/, "")}/${object.metadata.name}`;
  try {
    await kube.apply(resource, object, { fieldManager: FIELD_MANAGER, force });
  } catch (error) {
    throw error instanceof KubeError ? explained(name, error) : error;
  }
  process.stdout.write(`${name} applied\n`);
}

const UNDECLARED = /(\.[^\s,]+): field not declared in schema/g;

/** The API server's own words, one line for each field that it objects to. */
export function explained(name: string, error: KubeError): ArgusError {
  // An API server calls a misspelt field an error of its own (500).
  const unknown = [...error.message.matchAll(UNDECLARED)].map(([, field]) => field?.slice(1));
  if (unknown.length > 0) {
    const lines = unknown.map((field) => `\n  ${field}: there is no such field`);
    return new ArgusError("InvalidInput", `${name}: refused${lines.join("")}`);
  }
  const fields = error.causes.map(({ field, message }) => `\n  ${field ?? "?"}: ${message ?? ""}`);
  const hint = error.code === "Conflict" ? "\n  --force takes the fields over" : "";
  const words = fields.length > 0 ? `refused${fields.join("")}` : error.message;
  return new ArgusError(error.code, `${name}: ${words}${hint}`);
}

function readInput(file: string): string {
  try {
    return readFileSync(file === "-" ? 0 : file, "utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT")) throw new ArgusError("InvalidInput", `there is no file ${file}`);
    if (isErrno(error, "EISDIR")) {
      throw new ArgusError("InvalidInput", `${file} is a folder: give one YAML file`);
    }
    throw new ArgusError("InvalidInput", `${file} cannot be read: ${errorMessage(error)}`);
  }
}

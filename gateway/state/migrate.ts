import { z } from "zod";
import { errorMessage } from "#lib/errors.ts";
import { UnreadableDocument } from "../store/unreadable.ts";

/** A document as its writer left it: of a version that the current schema may not know. */
type Body = Readonly<Record<string, unknown>>;

/** One step between two schema versions: `{from: 1, to: 2, migrate: (body) => ({...body, chats: []})}`. Pure; sets no version. */
export interface Migration {
  from: number;
  to: number;
  migrate(body: Body): Body;
}

/** How documents of one kind change their schema over time. */
export interface SchemaHistory {
  /** `schemaVersion` of what this version writes. */
  current: number;
  /** From every version that was ever released, step by step. */
  migrations: readonly Migration[];
}

const Versioned = z.looseObject({ schemaVersion: z.int().min(1) });

/**
 * The body as the current schema wants it, `schemaVersion` included. Throws {@link UnreadableDocument} for a newer version, whose fields this
 * one would drop, and for one that no migration leads away from. Only memory changes: the next commit writes the new version.
 */
export function migrated(
  body: unknown,
  { current, migrations }: SchemaHistory,
  { what, uid }: { what: string; uid: string },
): unknown {
  const start = Versioned.safeParse(body).data;
  if (!start) return body;
  const found = start.schemaVersion;
  if (found > current) {
    const message = `${what} has schema version ${found}, and this Argus knows versions up to ${current}: start the Argus version that wrote it.`;
    throw new UnreadableDocument("NewerSchema", message, { uid, found, supported: current });
  }
  let document: Body = start;
  for (let version = found; version < current; ) {
    const step = migrations.find(({ from }) => from === version);
    if (!step) {
      const message = `${what} has schema version ${found}, and this Argus has no way from ${version} to ${current}: start an older Argus first.`;
      throw new UnreadableDocument("UnknownShape", message, { uid, found, supported: current });
    }
    document = { ...taken(step, document, { what, uid }), schemaVersion: step.to };
    version = step.to;
  }
  return document;
}

function taken(step: Migration, body: Body, { what, uid }: { what: string; uid: string }): Body {
  try {
    return step.migrate(body);
  } catch (error) {
    const message = `${what} is not a document of version ${step.from}: restore it from a backup.`;
    throw new UnreadableDocument("UnknownShape", message, { uid, problem: errorMessage(error) });
  }
}

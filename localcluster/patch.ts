import jsonPatch from "fast-json-patch";
import { errorMessage } from "#lib/errors.ts";
import { type Fields, isFields } from "./object.ts";
import { ApiError, badRequest } from "./status.ts";

const MAX_OPERATIONS = 10_000;
const OPERATIONS = new Set(["add", "remove", "replace", "move", "copy", "test"]);

/** RFC 7396. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isFields(patch)) return patch;
  const result: Fields = isFields(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = mergePatch(result[key], value);
  }
  return result;
}

/** RFC 6902, on a copy. Throws 400 for a malformed patch, 422 when an operation does not fit the object. */
export function applyJsonPatch(target: unknown, patch: unknown): unknown {
  if (!isPatch(patch))
    throw badRequest("error decoding patch: not a list of JSON patch operations");
  if (patch.length > MAX_OPERATIONS) {
    const message = `The allowed maximum operations in a JSON patch is ${MAX_OPERATIONS}, got ${patch.length}`;
    throw new ApiError(413, "RequestEntityTooLarge", message);
  }
  try {
    return jsonPatch.applyPatch(structuredClone(target), patch, true, true, true).newDocument;
  } catch (error) {
    const why = errorMessage(error).split("\n")[0];
    throw new ApiError(
      422,
      "Invalid",
      `the server rejected our request due to an error in our request: ${why}`,
    );
  }
}

function isPatch(value: unknown): value is jsonPatch.Operation[] {
  return (
    Array.isArray(value) &&
    value.every(
      (each) => isFields(each) && OPERATIONS.has(String(each.op)) && typeof each.path === "string",
    )
  );
}

import { ArgusError } from "#lib/errors.ts";
import { ApprovePersonParams, PersonParams } from "#protocol/access.ts";
import { approve, remove } from "../state/access.ts";
import type { Caller, CallerMethod } from "./method.ts";
import { onlyOwner } from "./named-session.ts";

/** Who may write through channels; what a channel's own settings name is not in these lists. */
export const peopleMethods: Record<string, CallerMethod> = {
  "argus/person/list": list,
  "argus/person/approve": approveCode,
  "argus/person/remove": removePerson,
};

async function list(caller: Caller) {
  onlyOwner(caller, "see who may write");
  const { people, codes } = caller.context.state.current.access;
  const open = codes.filter(({ expiresAt }) => expiresAt > Date.now());
  return { ok: true, people, codes: open };
}

async function approveCode(caller: Caller, params: unknown) {
  onlyOwner(caller, "let people in");
  const { code, role } = ApprovePersonParams.parse(params);
  const person = await caller.context.state.reduce((document) => {
    const { document: access, answer } = approve(document.access, { code, role, now: Date.now() });
    return { document: { ...document, access }, answer };
  });
  return { ok: true, person };
}

async function removePerson(caller: Caller, params: unknown) {
  onlyOwner(caller, "keep people out");
  const { id } = PersonParams.parse(params);
  const isRemoved = await caller.context.state.reduce((document) => {
    const { document: access, answer } = remove(document.access, id);
    return { document: answer ? { ...document, access } : document, answer };
  });
  if (isRemoved) return { ok: true, id };
  const message = `There is no ${id} among the people: argus/person/list names them.`;
  throw new ArgusError("NotFound", message, { person: id });
}

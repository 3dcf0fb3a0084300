import { expect } from "vitest";
import type { Case } from "../kubernetes.ts";
import { listOf, SESSIONS, WIDGET_DEFINITION, widget } from "./tools.ts";

const DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/** What a wrong spec is answered: field and message of each cause. */
const REFUSALS: [title: string, spec: object, field: string, message: string][] = [
  ["a required field", { color: undefined }, "spec.color", "Required value"],
  [
    "an enum",
    { color: "green" },
    "spec.color",
    'Unsupported value: "green": supported values: "red", "blue"',
  ],
  [
    "a minimum",
    { size: 0 },
    "spec.size",
    "Invalid value: 0: spec.size in body should be greater than or equal to 1",
  ],
  [
    "a maximum",
    { size: 10 },
    "spec.size",
    "Invalid value: 10: spec.size in body should be less than or equal to 9",
  ],
  [
    "a type",
    { size: "x" },
    "spec.size",
    'Invalid value: "string": spec.size in body must be of type integer: "string"',
  ],
  [
    "a pattern",
    { name: "A1" },
    "spec.name",
    `Invalid value: "A1": spec.name in body should match '^[a-z]*$'`,
  ],
  ["a length", { name: "abcdef" }, "spec.name", "Too long: may not be more than 5 bytes"],
  [
    "a date",
    { when: "soon" },
    "spec.when",
    'Invalid value: "soon": spec.when in body must be of type date-time: "soon"',
  ],
  [
    "a list's length",
    { tags: ["a", "b", "c", "d"] },
    "spec.tags",
    "Too many: 4: must have at most 3 items",
  ],
  ["a set's duplicate", { tags: ["a", "a"] }, "spec.tags[1]", 'Duplicate value: "a"'],
  [
    "a list-map's duplicate",
    { items: [{ name: "a" }, { name: "a" }] },
    "spec.items[1]",
    'Duplicate value: {"name":"a"}',
  ],
  ["a CEL rule", { low: 2, high: 1 }, "spec", "Invalid value: low above high"],
];

export function definitionCases(add: Case): void {
  add("a definition becomes established", async (t) => {
    const { body } = await t.get(`${DEFINITIONS}/${WIDGET_DEFINITION.metadata.name}`);
    const conditions = body.status?.conditions as unknown as { type: string; status: string }[];
    for (const type of ["NamesAccepted", "Established"]) {
      expect(conditions.find((each) => each.type === type)?.status).toBe("True");
    }
    expect(body.status?.acceptedNames?.listKind).toBe("WidgetList");
  });

  add("a definition under a wrong name is 422", async (t) => {
    const wrong = { ...WIDGET_DEFINITION, metadata: { name: "wrong.contract.argus.dev" } };
    const { status, body } = await t.post(DEFINITIONS, wrong);
    expect([status, body.details?.causes?.[0]?.field]).toEqual([422, "metadata.name"]);
  });

  add("a new definition is served, a deleted one is not, and its objects go with it", async (t) => {
    const names = { kind: "Gadget", plural: "gadgets", singular: "gadget" };
    const spec = { ...WIDGET_DEFINITION.spec, names };
    await t.post(DEFINITIONS, {
      ...WIDGET_DEFINITION,
      metadata: { name: "gadgets.contract.argus.dev" },
      spec,
    });
    const path = `/apis/contract.argus.dev/v1/namespaces/${await t.namespace()}/gadgets`;
    await t.until(async () => (await t.get(path)).status === 200);
    await t.until(
      async () => (await t.post(path, { ...widget("g"), kind: "Gadget" })).status === 201,
    );
    await t.delete(`${DEFINITIONS}/gadgets.contract.argus.dev`);
    await t.until(async () => (await t.get(path)).status === 404);
    expect((await t.get(`${DEFINITIONS}/gadgets.contract.argus.dev`)).status).toBe(404);
  });

  for (const [title, spec, field, message] of REFUSALS) {
    add(`validation: ${title} is a 422 that names ${field}`, async (t) => {
      const { status, body } = await t.post(await t.widgets(), widget("a", spec));
      expect([status, body.reason]).toEqual([422, "Invalid"]);
      expect(body.details?.causes).toContainEqual(expect.objectContaining({ field, message }));
      expect(body.message).toContain('Widget.contract.argus.dev "a" is invalid: ');
    });
  }

  add("validation: our own session's limit in the server's words", async (t) => {
    const path = `${SESSIONS}/namespaces/${await t.namespace()}/argussessions`;
    const object = {
      apiVersion: "argus.dev/v1alpha1",
      kind: "ArgusSession",
      metadata: { name: "main" },
    };
    const { body } = await t.post(path, { ...object, spec: { limits: { pids: 10 } } });
    expect(body.message).toBe(
      'ArgusSession.argus.dev "main" is invalid: spec.limits.pids: Invalid value: 10: spec.limits.pids in body should be greater than or equal to 64',
    );
  });

  add("validation: several wrong fields are all named", async (t) => {
    const { body } = await t.post(await t.widgets(), widget("a", { color: "green", size: 0 }));
    const fields = listOf<{ field: string }>(body.details?.causes).map(({ field }) => field);
    // In no order: the real server walks a map.
    expect(fields.toSorted()).toEqual(["<nil>", "spec.color", "spec.size"]);
    expect(body.message).toContain("some validation rules were not checked");
  });

  add("validation: a bound that is broken beside a rule hides neither", async (t) => {
    const spec = { size: 10, low: 2, high: 1 };
    const { body } = await t.post(await t.widgets(), widget("a", spec));
    const fields = listOf<{ field: string }>(body.details?.causes).map(({ field }) => field);
    expect(fields).toEqual(["spec.size", "spec"]);
  });

  add("int-or-string takes both and nothing else", async (t) => {
    const path = await t.widgets();
    expect((await t.post(path, widget("a", { port: 80 }))).status).toBe(201);
    expect((await t.post(path, widget("b", { port: "http" }))).status).toBe(201);
    expect((await t.post(path, widget("c", { port: true }))).status).toBe(422);
  });

  add("a transition rule holds for updates only", async (t) => {
    const path = await t.widgets();
    expect((await t.post(path, widget("a", { once: "x" }))).status).toBe(201);
    const { status, body } = await t.patch(`${path}/a`, "merge", { spec: { once: "y" } });
    expect([status, body.details?.causes?.[0]?.field]).toEqual([422, "spec.once"]);
    expect(body.message).toContain('spec.once: Invalid value: "y": once is fixed');
    expect((await t.patch(`${path}/a`, "merge", { spec: { size: 4 } })).status).toBe(200);
  });

  add("defaults are filled in, nested ones too", async (t) => {
    const { body } = await t.post(await t.widgets(), widget("a"));
    expect(body.spec).toMatchObject({ size: 3, nested: { on1: true } });
  });

  add("unknown fields are pruned, preserved ones stay", async (t) => {
    const { body } = await t.post(
      await t.widgets(),
      widget("a", { unknown: 1, open: { any: { thing: [1] } } }),
    );
    expect(body.spec?.unknown).toBeUndefined();
    expect(body.spec?.open).toEqual({ any: { thing: [1] } });
  });

  add("null where it is not allowed takes the default", async (t) => {
    const { body } = await t.post(await t.widgets(), widget("a", { size: null }));
    expect(body.spec?.size).toBe(3);
  });

  add("a cron is refused by each of its rules, with the field and what to do", async (t) => {
    const path = `${SESSIONS}/namespaces/${await t.namespace()}/arguscrons`;
    const cron = (name: string, spec: object) => ({
      apiVersion: "argus.dev/v1alpha1",
      kind: "ArgusCron",
      metadata: { name },
      spec: {
        schedule: "@daily",
        sessionRef: { name: "main" },
        event: { text: "tick" },
        ...spec,
      },
    });
    for (const [spec, words] of CRON_RULES) {
      const { status, body } = await t.post(path, cron("wrong", spec));
      expect([status, body.message], JSON.stringify(spec)).toEqual([
        422,
        expect.stringContaining(words),
      ]);
    }
    const least = { schedule: "0 9 * * *", timeZone: "Etc/GMT+3", startingDeadlineSeconds: 10 };
    expect((await t.post(path, cron("right", least))).status).toBe(201);
  });
}

const CRON_RULES: [object, string][] = [
  [{ schedule: "TZ=UTC * * * * *" }, "put the time zone into timeZone"],
  [{ timeZone: "Local" }, "name a zone, for example UTC"],
  [{ timeZone: "../etc/passwd" }, "spec.timeZone"],
  [{ startingDeadlineSeconds: 9 }, "spec.startingDeadlineSeconds"],
  [{ concurrencyPolicy: "Sometimes" }, "spec.concurrencyPolicy"],
  [{ sessionRef: { name: "" } }, "spec.sessionRef.name"],
  [{ event: { text: "x".repeat(16_385) } }, "spec.event.text"],
];

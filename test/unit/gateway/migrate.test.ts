import { expect, test } from "vitest";
import { z } from "zod";
import { StoredState } from "#gateway/state/document.ts";
import type { Migration } from "#gateway/state/migrate.ts";
import { UnreadableDocument } from "#gateway/store/unreadable.ts";
import { MemoryStore } from "#test/fakes/memory-store.ts";

/** A made-up kind that once held a name, then a list of names, now people. */
const Pets = z.strictObject({
  schemaVersion: z.literal(3),
  pets: z.array(z.strictObject({ name: z.string() })),
});
const MIGRATIONS: Migration[] = [
  { from: 1, to: 2, migrate: ({ name }) => ({ names: [name] }) },
  {
    from: 2,
    to: 3,
    migrate: ({ names }) => ({ pets: (names as string[]).map((name) => ({ name })) }),
  },
];
const kind = (migrations = MIGRATIONS) => ({
  what: "The list of pets",
  schema: Pets,
  empty: { schemaVersion: 3 as const, pets: [] },
  history: { current: 3, migrations },
});
function stored(body: unknown): MemoryStore {
  const store = new MemoryStore();
  store.documents.set("u", { version: 7, body });
  return store;
}

test("a document of an old version is read as the current one, and written so by the next commit", async () => {
  for (const [body, names] of [
    [{ schemaVersion: 1, name: "Rex" }, ["Rex"]],
    [{ schemaVersion: 2, names: ["Rex", "Tom"] }, ["Rex", "Tom"]],
    [{ schemaVersion: 3, pets: [{ name: "Tom" }] }, ["Tom"]],
  ] as const) {
    const store = stored(body);
    const state = await StoredState.open(store, "u", kind());
    expect(state.current.pets.map(({ name }) => name)).toEqual(names);
    expect(store.documents.get("u")).toEqual({ version: 7, body });
    await state.update((document) => ({ ...document, pets: [...document.pets, { name: "Kim" }] }));
    expect(store.documents.get("u")).toMatchObject({ version: 8, body: { schemaVersion: 3 } });
  }
});

test("a newer version is refused with both versions named, and stays as it is", async () => {
  const store = stored({ schemaVersion: 4, pets: [], owners: ["Ann"] });
  const refusal = await StoredState.open(store, "u", kind()).catch((error: unknown) => error);
  expect(refusal).toBeInstanceOf(UnreadableDocument);
  expect(refusal).toMatchObject({
    reason: "NewerSchema",
    message:
      "The list of pets has schema version 4, and this Argus knows versions up to 3: start the Argus version that wrote it.",
    facts: { uid: "u", found: 4, supported: 3 },
  });
  expect(store.documents.get("u")?.version).toBe(7);
});

test("a version without a way to the current one is refused", async () => {
  const store = stored({ schemaVersion: 1, name: "Rex" });
  await expect(StoredState.open(store, "u", kind(MIGRATIONS.slice(1)))).rejects.toMatchObject({
    reason: "UnknownShape",
    message: expect.stringContaining("no way from 1 to 3"),
  });
});

test("what is no document at all, and what a migration makes wrong, is refused", async () => {
  const wrong = [{ from: 1, to: 3, migrate: () => ({ pets: "none" }) }];
  for (const [body, steps] of [
    [{ schemaVersion: 1 }, wrong],
    [{ schemaVersion: 2, names: 5 }, MIGRATIONS],
    [{ schemaVersion: 0, pets: [] }, MIGRATIONS],
    [{ pets: [] }, MIGRATIONS],
    ["text", MIGRATIONS],
    [null, MIGRATIONS],
  ] as const) {
    const opening = StoredState.open(stored(body), "u", kind([...steps]));
    await expect(opening).rejects.toMatchObject({ reason: "UnknownShape" });
  }
});

import { expect, test } from "vitest";
import { dataFolder } from "#cli/data-folder.ts";

const place = (over: Partial<Parameters<typeof dataFolder>[1]>) => ({
  environment: { HOME: "/home/ada" },
  platform: "linux" as const,
  uid: 1000,
  ...over,
});

test.each([
  ["a user", place({}), "/home/ada/.local/share/argus"],
  ["XDG", place({ environment: { HOME: "/h", XDG_DATA_HOME: "/x" } }), "/x/argus"],
  ["root", place({ uid: 0 }), "/var/lib/argus"],
  ["macOS", place({ platform: "darwin" }), "/home/ada/Library/Application Support/argus"],
  ["ARGUS_DATA", place({ uid: 0, environment: { ARGUS_DATA: "/d" } }), "/d"],
])("the data folder of %s", (_name, where, root) => {
  expect(dataFolder(undefined, where).root).toBe(root);
});

test("--data goes first and becomes absolute", () => {
  const folder = dataFolder("here", place({ environment: { ARGUS_DATA: "/d" } }));
  expect(folder.root).toBe(`${process.cwd()}/here`);
  expect(folder.client).toBe(`${folder.root}/client.json`);
});

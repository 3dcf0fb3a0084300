import fc from "fast-check";
import { expect, test } from "vitest";
import { readObjects, template } from "#test/support/chart.ts";
import { proofSize } from "#test/support/proof.ts";
import { merge, nested, OTHER } from "./other-values.ts";
import { findings } from "./rules.ts";

const PATHS = Object.keys(OTHER);
/** What these switches leave out is missed by rules, rightly. */
const MISSED: [path: string, rule: RegExp][] = [
  ["podDisruptionBudget.enabled", /disruption budget$/],
  ["networkPolicy.enabled", /network policy for both directions$/],
  ["controller.affinity", /different nodes$/],
  ["gateway.affinity", /different nodes$/],
  ["telegram.affinity", /different nodes$/],
  ["webhook.affinity", /different nodes$/],
  ["imagePullPolicy", /pull policy IfNotPresent$/],
];
/** Values that exclude each other: the chart says so. */
const EXCLUDE = /exclude each other/;

test("whichever values are put together, the chart renders and no rule is broken", {
  timeout: 600_000,
}, async () => {
  const runs = proofSize(40, 2000);
  let rendered = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(fc.constantFrom(...PATHS), { maxLength: 25 }),
      async (paths) => {
        const values = paths.reduce((whole, path) => {
          const [value, beside = {}] = OTHER[path] ?? [undefined];
          return merge(merge(whole, beside), nested(path, value));
        }, {});
        const { code, stdout, stderr } = await template(values, {
          args: ["--set", "crds.enabled=false"],
        });
        if (EXCLUDE.test(stderr)) return;
        expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
        const ignored = MISSED.filter(([path]) => paths.includes(path)).map(([, rule]) => rule);
        const found = findings(readObjects(stdout));
        expect(found.filter((each) => !ignored.some((rule) => rule.test(each)))).toEqual([]);
        rendered += 1;
      },
    ),
    { numRuns: runs },
  );
  expect(rendered).toBeGreaterThan(runs / 2);
});

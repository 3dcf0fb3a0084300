import { parseArgs } from "node:util";
import { benchRelay } from "./relay/relay.ts";

const USAGE = `npm run bench relay [-- --quick] [-- --repetitions N] [-- --only G1,G9]

relay: gateway and bridge against haproxy, a C relay and the frozen baselines, as ratios (docs/performance.md)
--quick: one repetition, small levels: shows that everything works, its figures mean nothing`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: "boolean", default: false },
    repetitions: { type: "string" },
    only: { type: "string", default: "" },
  },
});

if (positionals[0] !== "relay" || positionals.length > 1) {
  console.error(USAGE);
  process.exit(2);
}
console.log(
  await benchRelay({
    quick: values.quick,
    repetitions: Number(values.repetitions ?? (values.quick ? 1 : 5)),
    only: values.only.split(",").filter(Boolean),
  }),
);

import { randomInt } from "node:crypto";

/** A fresh seed, or the one that SEED names to see a failure again; printed. For `randomSource`. */
export function proofSeed(): number {
  const seed = Number(process.env.SEED) || randomInt(1, 2 ** 31);
  console.info(`seed: ${seed} (SEED=${seed} repeats it)`);
  return seed;
}

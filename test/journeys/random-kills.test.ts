import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { proofSize } from "#test/support/proof.ts";
import { proofSeed } from "#test/support/seed.ts";
import { Storm, VICTIMS, type Victim } from "#test/support/storm.ts";
import { judgeStorm } from "#test/support/storm-judge.ts";
import { randomSource } from "../bench/relay/random-lines.ts";

/** Kills of one part: each part has an installation of its own. */
const KILLS_A_PART = 25;
const EVERY_SECONDS = 5;
/** Until the next one dies. */
const PAUSE_MS = 6000;
const kills = proofSize(5, 100);
const seed = proofSeed();
const parts = Array.from({ length: Math.ceil(kills / KILLS_A_PART) }, (_, index) => index);

async function killed(storm: Storm, random: () => number): Promise<Victim> {
  const all = Object.keys(VICTIMS) as Victim[];
  for (;;) {
    await delay(random() * PAUSE_MS);
    const victim = all[Math.floor(random() * all.length)] as Victim;
    if (storm.kill(victim)) return victim;
  }
}

test.each(parts)(
  "part %i: one process or another killed at any moment, and everything accepted ends once, runs once and is told once",
  async (part) => {
    const random = randomSource(seed + part);
    const count = Math.min(KILLS_A_PART, kills - part * KILLS_A_PART);
    const small = count < KILLS_A_PART;
    const schedule = `*/${EVERY_SECONDS} * * * * *`;
    const storm = await Storm.start({ sessions: small ? 2 : 3, schedule, random });
    const victims: Victim[] = [];
    try {
      storm.begin();
      while (victims.length < count) victims.push(await killed(storm, random));
      await storm.calm();
      const verdict = await judgeStorm(storm, EVERY_SECONDS);
      const died = Object.groupBy(victims, (each) => each);
      const deaths = Object.entries(died).map(([name, each]) => `${each.length} × ${name}`);
      console.info(`proof: ${count} × kill -9 (${deaths.join(", ")}): ${JSON.stringify(verdict)}`);
      expect(verdict.wronglyMissed).toBeLessThanOrEqual(
        (died.controller?.length ?? 0) * storm.names.length,
      );
      expect(verdict.messages["done"]).toBeGreaterThan(0);
      // Nobody has to help: the next message is answered.
      for (const name of storm.names) {
        const { inputId } = await storm.say(name);
        expect(await storm.ended(name, inputId)).toEqual(
          expect.objectContaining({ state: "done" }),
        );
      }
    } finally {
      await storm.destroy();
    }
  },
  900_000,
);

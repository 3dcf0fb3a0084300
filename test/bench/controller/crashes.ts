import type { ApiPeer } from "../../support/api-peer.ts";
import { crashPoints, live, NOTHING } from "../../support/life.ts";
import type { Row } from "../relay/report.ts";
import { figure } from "./figures.ts";

/** Lives that run at once, each in a namespace of its own. */
const AT_ONCE = 3;

/** K1: the controller's process is killed before and after every write of a life; the end is always the same. */
export async function crashes(
  peer: ApiPeer,
  { bundle, quick, say }: { bundle: string; quick: boolean; say: (text: string) => void },
): Promise<Row[]> {
  const undisturbed = await live({ peer, bundle });
  const all = crashPoints(undisturbed.writes.length);
  const left = quick ? all.slice(0, 3) : [...all];
  const count = left.length;
  let wrong = 0;
  let orphans = 0;
  let duplicates = 0;
  const work = async () => {
    for (let crash = left.shift(); crash; crash = left.shift()) {
      const life = await live({ peer, bundle, crash, expected: undisturbed.alive });
      const same = life.crashed && life.alive === undisturbed.alive;
      if (!same) wrong += 1;
      if (life.left !== NOTHING) orphans += 1;
      if (life.podsEver !== 2 || life.podsAtOnce > 1) duplicates += 1;
      say(`K1: killed ${crash.when} write ${crash.write}: ${same ? "same end" : "ANOTHER END"}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  const among = `of ${count} crash points`;
  return [
    figure({ goal: "K1", what: "crash points", atLeast: 20 }, [count]),
    figure({ goal: "K1", what: `another final state, ${among}`, atMost: 0 }, [wrong]),
    figure({ goal: "K1", what: `something left at the end, ${among}`, atMost: 0 }, [orphans]),
    figure({ goal: "K1", what: `a pod too many, ${among}`, atMost: 0 }, [duplicates]),
  ];
}

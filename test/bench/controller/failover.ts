import type { ApiPeer } from "../../support/api-peer.ts";
import { failOver, type Loss } from "../../support/failover.ts";
import type { Row } from "../relay/report.ts";
import { figure } from "./figures.ts";

/** K9: two controllers, the leader is lost in four ways. */
export async function failovers(
  peer: ApiPeer,
  options: { bundle: string; quick: boolean; repetitions: number; say: (text: string) => void },
): Promise<Row[]> {
  const { bundle, quick, repetitions, say } = options;
  const stopMs = quick ? 20_000 : 60_000;
  const cases: [Loss, number, number][] = [
    ["kill -9", 0, 20],
    ["SIGTERM", 0, 2],
    ["cut off", quick ? 20_000 : 40_000, 20],
    ["stopped", stopMs, 20],
  ];
  const rows: Row[] = [];
  for (const [loss, lostMs, atMost] of cases) {
    const times = lostMs > 0 ? 1 : repetitions;
    const seconds: number[] = [];
    const late: number[] = [];
    for (let repetition = 0; repetition < times; repetition += 1) {
      say(`K9: leader ${loss}`);
      const { actsAfterMs, lateWrites } = await failOver({ peer, bundle }, loss, lostMs);
      for (const write of lateWrites) say(`K9: the old leader still wrote: ${write}`);
      seconds.push(actsAfterMs / 1000);
      late.push(lateWrites.length);
    }
    const how = lostMs > 0 ? `${loss} for ${lostMs / 1000} s` : loss;
    rows.push(
      figure(
        { goal: "K9", what: `leader ${how}: the successor acts`, atMost, unit: " s" },
        seconds,
      ),
      figure(
        { goal: "K9", what: `leader ${how}: its writes beside the successor's`, atMost: 1 },
        late,
      ),
    );
  }
  return rows;
}

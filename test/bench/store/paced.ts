/** What producers got who each wait for their commit before the next. */
export interface Paced {
  perSecond: number;
  /** Of each commit, ms. */
  times: number[];
}

/** So many producers at once, each with its own number. */
export async function paced(
  producers: number,
  forMs: number,
  commit: (producer: number) => Promise<void>,
): Promise<Paced> {
  const times: number[] = [];
  const startedMs = performance.now();
  const produce = async (producer: number) => {
    for (let nowMs = startedMs; nowMs - startedMs < forMs; ) {
      await commit(producer);
      const endMs = performance.now();
      times.push(endMs - nowMs);
      nowMs = endMs;
    }
  };
  await Promise.all(Array.from({ length: producers }, (_, index) => produce(index)));
  return { perSecond: (times.length * 1000) / (performance.now() - startedMs), times };
}

import { z } from "zod";

/** A Kubernetes condition (meta/v1). Positive polarity: True is the healthy or wanted state unless the type says pressure. */
export const Condition = z.object({
  type: z.string().min(1).max(64),
  status: z.enum(["True", "False", "Unknown"]),
  observedGeneration: z.int().min(0).optional(),
  lastTransitionTime: z.iso.datetime(),
  reason: z.string().min(1).max(128),
  message: z.string().max(4096),
});
export type Condition = z.infer<typeof Condition>;

/** Conditions as a list-map by type, for use in a status schema. */
export const conditionList = () =>
  z
    .array(Condition)
    .max(32)
    .meta({ "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"] });

export type NextCondition = Omit<Condition, "lastTransitionTime">;

/** The list with `next` in it; `lastTransitionTime` moves only when the status changes, and an equal entry keeps its bytes. */
export function setCondition(
  list: readonly Condition[],
  next: NextCondition,
  now: Date,
): Condition[] {
  const old = list.find((condition) => condition.type === next.type);
  const lastTransitionTime =
    old && old.status === next.status
      ? old.lastTransitionTime
      : now.toISOString().replace(/\.\d+Z$/, "Z");
  const condition: Condition = { ...next, lastTransitionTime };
  return old
    ? list.map((each) => (each.type === next.type ? condition : each))
    : [...list, condition];
}

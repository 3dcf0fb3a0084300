import { z } from "zod";
import { conditionList } from "./condition.ts";

export const ArgusCronSpec = z.object({
  schedule: z
    .string()
    .min(1)
    .max(128)
    .meta({
      description:
        "Cron expression of 5 fields, or 6 with seconds first; each time that matches on the zone's wall clock is one slot",
      "x-kubernetes-validations": [
        { rule: "!self.contains('TZ=')", message: "put the time zone into timeZone" },
      ],
    }),
  timeZone: z
    .string()
    .max(64)
    .regex(/^[A-Za-z][A-Za-z0-9_+-]*(\/[A-Za-z0-9_+-]+)*$/)
    .default("UTC")
    .meta({
      description: "IANA name, for example Europe/Helsinki",
      "x-kubernetes-validations": [
        { rule: "self.lowerAscii() != 'local'", message: "name a zone, for example UTC" },
      ],
    }),
  suspend: z.boolean().default(false),
  startingDeadlineSeconds: z.int().min(10).optional(),
  concurrencyPolicy: z.enum(["Allow", "Forbid", "Replace"]).default("Allow"),
  sessionRef: z.object({ name: z.string().min(1).max(253) }),
  event: z.object({ text: z.string().min(1).max(16384) }),
});
export type ArgusCronSpec = z.infer<typeof ArgusCronSpec>;
export type ArgusCronSpecInput = z.input<typeof ArgusCronSpec>;

const time = (description: string) => z.iso.datetime().optional().meta({ description });

export const ArgusCronStatus = z.object({
  observedGeneration: z.int().min(0).optional(),
  conditions: conditionList().optional(),
  lastScheduleTime: time("The last slot that was decided, whether it was posted or skipped"),
  nextScheduleTime: time("The next slot; absent while suspended"),
  lastSuccessfulTime: time("Slot of the last event whose turn completed"),
  lastRun: z
    .object({
      slot: z.iso.datetime(),
      state: z.enum(["Queued", "Running", "Succeeded", "Failed", "DeadLettered", "Skipped"]),
      reason: z.string().max(1024).optional(),
      finishedAt: z.iso.datetime().optional(),
    })
    .optional()
    .meta({ description: "The last slot that was posted, and what the gateway said of it" }),
  lastSkip: z
    .object({
      slot: z.iso.datetime(),
      reason: z.enum(["TooLate", "StillActive", "Suspended", "MissedWhileDown", "SessionNotFound"]),
      time: z.iso.datetime(),
    })
    .optional()
    .meta({ description: "The last slot that was not run: which, why, and when that was decided" }),
  missedSchedules: z
    .int()
    .min(0)
    .optional()
    .meta({ description: "How many slots were decided as skipped, ever" }),
  scheduleRevisionTime: time("When schedule or zone last changed; slots before it never fire"),
  observedSchedule: z
    .object({ schedule: z.string().max(128), timeZone: z.string().max(64) })
    .optional()
    .meta({ description: "The schedule and zone that scheduleRevisionTime belongs to" }),
});
export type ArgusCronStatus = z.infer<typeof ArgusCronStatus>;
export type CronSkipReason = NonNullable<ArgusCronStatus["lastSkip"]>["reason"];

/** Condition types of a cron and what True means. */
export const CRON_CONDITIONS = {
  Ready: "the next slot will be posted",
  ScheduleValid: "schedule and zone can be read and have a next slot",
  SessionFound: "the session exists",
} as const;
export type CronConditionType = keyof typeof CRON_CONDITIONS;

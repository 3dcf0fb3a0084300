import { z } from "zod";
import { conditionList } from "./condition.ts";

export const ArgusCronSpec = z.object({
  schedule: z
    .string()
    .min(1)
    .max(128)
    .meta({
      description: "Cron expression of 5 or 6 fields",
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

export const ArgusCronStatus = z.object({
  observedGeneration: z.int().optional(),
  conditions: conditionList().optional(),
  lastScheduleTime: z.iso.datetime().optional(),
  nextScheduleTime: z.iso.datetime().optional(),
  lastSuccessfulTime: z.iso.datetime().optional(),
  lastRun: z
    .object({
      slot: z.iso.datetime(),
      state: z.enum(["Queued", "Running", "Succeeded", "Failed", "DeadLettered", "Skipped"]),
      reason: z.string().max(1024).optional(),
      finishedAt: z.iso.datetime().optional(),
    })
    .optional(),
  lastSkip: z
    .object({
      slot: z.iso.datetime(),
      reason: z.enum(["TooLate", "StillActive", "Suspended", "MissedWhileDown", "SessionNotFound"]),
      time: z.iso.datetime(),
    })
    .optional(),
  missedSchedules: z.int().optional(),
  scheduleRevisionTime: z.iso.datetime().optional(),
});
export type ArgusCronStatus = z.infer<typeof ArgusCronStatus>;

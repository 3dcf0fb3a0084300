import { z } from "zod";

const Webhook = z.object({
  name: z
    .string()
    .max(63)
    .regex(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/)
    .meta({ description: "Its address is /webhooks/<session>/<name> of the gateway" }),
  secretKeyRef: z
    .object({ name: z.string().min(1).max(253), key: z.string().min(1).max(253) })
    .meta({ description: "Where the key of the signatures is; one key a line" }),
  scheme: z.enum(["Standard", "GitHub"]).default("Standard").meta({
    description: "Standard: Standard Webhooks; GitHub: x-hub-signature-256",
  }),
  toleranceSeconds: z.int32().min(1).max(3600).default(300).meta({
    description: "How far a signed timestamp may be from the gateway's clock",
  }),
  wakes: z.boolean().default(true).meta({
    description: "false: it is told in the next turn and starts none",
  }),
});
export type Webhook = z.infer<typeof Webhook>;

/** `spec.webhooks` of a session. */
export const webhookList = () =>
  z
    .array(Webhook)
    .max(16)
    .optional()
    .meta({
      description: "Other programs whose signed requests become events of this session",
      "x-kubernetes-list-type": "map",
      "x-kubernetes-list-map-keys": ["name"],
    });

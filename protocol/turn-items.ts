/** Items of a turn that are words; any other one acts on the world. */
const WORDS = new Set([
  "userMessage",
  "agentMessage",
  "reasoning",
  "plan",
  "contextCompaction",
  "hookPrompt",
]);

/** Whether an item of this type acts on the world: a turn with one is never run again by itself. */
export const actsOnWorld = (itemType: string): boolean => !WORDS.has(itemType);

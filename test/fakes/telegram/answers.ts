/** A refusal of the Bot API, in its words. */
export class ApiError extends Error {
  readonly code: number;
  readonly parameters: Record<string, number> | undefined;

  constructor(code: number, description: string, parameters?: Record<string, number>) {
    super(description);
    this.code = code;
    this.parameters = parameters;
  }
}

export const badRequest = (problem: string, parameters?: Record<string, number>) =>
  new ApiError(400, `Bad Request: ${problem}`, parameters);
export const forbidden = (problem: string) => new ApiError(403, `Forbidden: ${problem}`);
export const conflict = (problem: string) => new ApiError(409, `Conflict: ${problem}`);
export const tooMany = (seconds: number) =>
  new ApiError(429, `Too Many Requests: retry after ${seconds}`, { retry_after: seconds });

/** A result that comes with a sentence. */
export class Described {
  readonly result: unknown;
  readonly description: string;

  constructor(result: unknown, description: string) {
    this.result = result;
    this.description = description;
  }
}

import type { Dispatcher } from "undici";

/** An answer whose body has been read. */
export interface WholeAnswer {
  statusCode: number;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
}

/**
 * Makes one request and reads its whole answer. Most calls are small and want all of it: a stream between would cost as much
 * as the rest of the call. Rejects with the signal's reason when it aborts.
 */
export function wholeAnswer(
  dispatcher: Dispatcher,
  options: Dispatcher.DispatchOptions,
  signal: AbortSignal,
): Promise<WholeAnswer> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason as Error);
      return;
    }
    dispatcher.dispatch(options, new Collector({ resolve, reject, signal }));
  });
}

interface Waiting {
  resolve: (answer: WholeAnswer) => void;
  reject: (error: unknown) => void;
  signal: AbortSignal;
}

class Collector implements Dispatcher.DispatchHandler {
  readonly #waiting: Waiting;
  readonly #chunks: Buffer[] = [];
  #controller: Dispatcher.DispatchController | undefined;
  #statusCode = 0;
  #headers: WholeAnswer["headers"] = {};
  readonly #stop = () => this.#aborted();

  constructor(waiting: Waiting) {
    this.#waiting = waiting;
    waiting.signal.addEventListener("abort", this.#stop);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#waiting.signal.aborted) this.#aborted();
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    statusCode: number,
    headers: WholeAnswer["headers"],
  ): void {
    this.#statusCode = statusCode;
    this.#headers = headers;
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#chunks.push(chunk);
  }

  onResponseEnd(): void {
    this.#over();
    const [only] = this.#chunks;
    const body = only && this.#chunks.length === 1 ? only : Buffer.concat(this.#chunks);
    this.#waiting.resolve({ statusCode: this.#statusCode, headers: this.#headers, body });
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#over();
    this.#waiting.reject(error);
  }

  #aborted(): void {
    const reason = this.#waiting.signal.reason as Error;
    // Whoever still waits for a connection has no controller: it is told now and ends when its turn comes.
    this.#waiting.reject(reason);
    this.#controller?.abort(reason);
  }

  #over(): void {
    this.#waiting.signal.removeEventListener("abort", this.#stop);
  }
}

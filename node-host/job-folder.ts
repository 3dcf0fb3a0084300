// Without zod: loading it takes longer than everything else that a supervisor does before its program runs.

/** What a job's folder holds. Each file has one writer: the node-host, or the job's supervisor. */
export const JOB_FILES = {
  /** `JobMeta` of job-files.ts, by the node-host. */
  meta: "meta.json",
  /** Exists, by the supervisor, from before the program is started: without it nothing ran. */
  starting: "starting",
  /** `JobStarted`, by the supervisor. */
  started: "started.json",
  /** `JobExit`, by the supervisor; by the node-host when the supervisor was lost. */
  exit: "exit.json",
  stdout: "stdout.log",
  stderr: "stderr.log",
  /** Appended by the node-host, fed to the program by the supervisor. */
  stdin: "stdin.log",
  /** Exists when nothing more will be appended. */
  stdinClosed: "stdin.closed",
  /** {@link TerminalSize} of a job on a terminal, `80 24` and a newline, by the node-host. */
  size: "size",
  /** Exists once nobody has to be told of the end any more. */
  told: "told",
} as const;

/** In characters. */
export interface TerminalSize {
  cols: number;
  rows: number;
}

/** What the supervisor gets on its stdin, as one JSON value; the environment never touches the disk. */
export interface SupervisorOrder {
  jobId: string;
  argv: string[];
  cwd: string;
  env: Record<string, string>;
  timeoutMs: number | null;
  /** Whether stdin is a pipe fed from the file; else it is /dev/null. */
  stdin: boolean;
  maxOutputBytes: number;
  /** On a terminal of this size; its output is stdout, its input stdin. */
  size?: TerminalSize;
}

/** What was found about this machine; each missing protection is one sentence for the person. */
export interface Isolation {
  platform: string;
  /** Pods can run as users of their own. */
  users: boolean;
  /** Whether we are root, so that the folder is what stands in the way. */
  root: boolean;
  /** Memory, CPU and process limits are enforced. */
  limits: boolean;
}

export function isolationWarnings({ platform, users, root, limits }: Isolation): string[] {
  const warnings = [
    "Pods share this machine's network and file system: a session reaches what its user reaches. A cluster isolates them.",
  ];
  if (!users) {
    const why = root
      ? "other users cannot reach the installation or its data folder"
      : "argus up does not run as root";
    warnings.push(`All sessions run as one user (${why}): a session can read and end another.`);
  }
  if (!limits) {
    const why = root ? "no writable cgroups were found" : "that needs root and cgroups";
    warnings.push(`Memory, CPU and process limits of pods are not enforced (${why}).`);
  }
  if (platform !== "linux") {
    warnings.push("All pods share 127.0.0.1: two pods cannot listen on the same port.");
  }
  return warnings;
}

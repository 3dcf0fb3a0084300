import { homedir } from "node:os";

/** Home of this process's user: HOME, else the user database's; undefined where neither knows (`homedir` throws then). */
export function ownHome(): string | undefined {
  try {
    return homedir();
  } catch {
    return undefined;
  }
}

import { type ClientChoice, findGateway } from "../client.ts";
import { EXIT } from "../exit.ts";

/** Prints the token alone, for `$(argus token)`. */
export async function token(choice: ClientChoice): Promise<number> {
  process.stdout.write(`${findGateway(choice).token}\n`);
  return EXIT.ok;
}

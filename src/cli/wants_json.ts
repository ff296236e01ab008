import { parseArgs } from "@std/cli/parse-args";

/** Whether errors are wanted as JSON, also of a line that is too wrong to be parsed. */
export function wantsJson(argv: string[]): boolean {
  return parseArgs(argv, { boolean: ["json"], negatable: ["json"], "--": true }).json === true;
}

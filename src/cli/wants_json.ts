import { parseArgs } from "@std/cli/parse-args";

/** Whether errors are printed as JSON; also for a line that cannot be parsed. */
export function wantsJson(argv: string[]): boolean {
  return parseArgs(argv, { boolean: ["json"], negatable: ["json"], "--": true }).json === true;
}

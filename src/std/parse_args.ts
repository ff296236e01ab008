// Part of @std/cli under the name that JSR gives it; see yaml.ts.
// @ts-types="./parse_args.d.ts"
export { parseArgs } from "npm:deno-std@1.3.0/cli/parse_args.js";

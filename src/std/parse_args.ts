// @std/cli under the name that JSR gives it. Where JSR can be reached, map "@std/cli/parse-args" to
// "jsr:@std/cli@1/parse-args" in deno.json and delete this file; npm has the same code without types.
// @ts-types="./parse_args.d.ts"
export { parseArgs } from "npm:deno-std@1.3.0/cli/parse_args.js";

// @std/yaml under the name that JSR gives it; see parse_args.ts.
// @ts-types="./yaml.d.ts"
export { parse, stringify } from "npm:deno-std@1.3.0/yaml/mod.js";

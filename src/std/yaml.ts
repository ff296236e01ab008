// @std/yaml under the name that JSR gives it.
// @ts-types="./yaml.d.ts"
export { parse, stringify } from "npm:deno-std@1.3.0/yaml/mod.js";

// @std/fs under the name that JSR gives it.
// @ts-types="./fs.d.ts"
export { ensureDir } from "npm:deno-std@1.3.0/fs/ensure_dir.js";

/**
 * Makes `src/web/assets.ts`, the files of the web UI as a module: a role that serves them needs no
 * right to read a file. `--check` makes them again and compares.
 */
import { fileURLToPath } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";

const root = fileURLToPath(new URL("../", import.meta.url));
const web = `${root}src/web`;
const target = `${web}/assets.ts`;
/** In this order: later rules win. */
const styles = ["base", "controls", "frame", "tables", "cards", "task"];
/** All of it compressed: the whole UI over a slow line in about a second. */
const mostBytes = 100 * 1024;

const header = `/** Made by scripts/web from the files beside it; change those and run it again. */
export interface Asset {
  type: string;
  /** For ETag and If-None-Match, quoted. */
  etag: string;
  gzip: Uint8Array<ArrayBuffer>;
}

/** By path. */
export const assets: Record<string, Asset> = {
`;

async function main(args: string[]): Promise<void> {
  if (args.length > 1 || (args[0] ?? "--check") !== "--check") fail("usage: scripts/web [--check]");
  const files = await build();
  if (args[0] === "--check") {
    const { assets: built } = await import("../src/web/assets.ts");
    const textOf = (path: string) =>
      built[path] && new TextDecoder().decode(gunzipSync(built[path].gzip));
    // Compressed bytes differ between releases of zlib: what they hold counts.
    const stale = [...files].filter(([path, { text }]) => textOf(path) !== text);
    const isOver = Object.keys(built).length !== files.size;
    if (stale.length === 0 && !isOver) return;
    fail(`src/web/assets.ts is stale (${stale.map(([path]) => path)}): run scripts/web`);
  }
  let module = header;
  let total = 0;
  for (const [path, { type, text }] of files) {
    const bytes = gzipSync(text, { level: 9 });
    total += bytes.length;
    module += `  "${path}": {\n    type: "${type}",\n    etag: '"${await digest(text)}"',\n` +
      `    gzip: Uint8Array.fromBase64(\n      "${bytes.toString("base64")}",\n    ),\n  },\n`;
  }
  if (total > mostBytes) fail(`The web UI has ${total} bytes compressed, more than ${mostBytes}`);
  await Deno.writeTextFile(target, `${module}};\n`);
  say(`src/web/assets.ts: ${files.size} files, ${total} bytes compressed`);
}

async function build(): Promise<Map<string, { type: string; text: string }>> {
  const read = (path: string) => Deno.readTextFile(`${web}/${path}`);
  const css = await Promise.all(styles.map((name) => read(`style/${name}.css`)));
  return new Map([
    ["/", { type: "text/html; charset=utf-8", text: await read("index.html") }],
    ["/assets/app.js", { type: "text/javascript; charset=utf-8", text: await bundle("main.tsx") }],
    ["/assets/app.css", { type: "text/css; charset=utf-8", text: minified(css.join("\n")) }],
    ["/favicon.svg", { type: "image/svg+xml", text: await read("favicon.svg") }],
  ]);
}

async function bundle(entry: string): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["bundle", "--quiet", "--platform", "browser", "--minify", `${web}/${entry}`],
    cwd: root,
  }).output();
  if (!success) fail(new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

/** Without comments and indents; what else a minifier saves is lost in the compression. */
function minified(css: string): string {
  return css.replaceAll(/\/\*.*?\*\//gs, "").replaceAll(/\n\s*/g, "\n").replaceAll(/\n+/g, "\n");
}

async function digest(text: string): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return new Uint8Array(hash).toHex().slice(0, 16);
}

function say(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

function fail(message: string): never {
  Deno.stderr.writeSync(new TextEncoder().encode(`web: ${message}\n`));
  Deno.exit(1);
}

await main(Deno.args);

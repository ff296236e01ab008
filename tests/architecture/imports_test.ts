/**
 * Who may import whom, checked on the module graph. What is started by URL as a thread is no
 * import: all files are roots of the graph here, so nothing is missed.
 */
import assert from "node:assert/strict";
import { join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { sourceFiles, threadEntries } from "../../scripts/entries.ts";

/**
 * Folders that a folder may import; with `type:` only types of it, with `lazy:` only by `import()`.
 * The same table stands in docs/architecture.md.
 */
const mayImport: Record<string, string[]> = {
  deno: [],
  base: ["deno"],
  config: ["base", "tasks"],
  pki: ["base"],
  tls: ["base", "pki", "deno"],
  http: ["base", "pki", "deno"],
  tasks: ["base"],
  coordinator: ["base", "tasks", "deno"],
  worker: ["base", "tasks", "deno"],
  store: ["base", "tasks", "type:coordinator", "type:worker"],
  runner: ["base", "type:tasks"],
  peer: ["base", "pki", "tls", "tasks", "type:coordinator", "type:worker", "deno"],
  client: ["base", "tasks", "deno"],
  mesh: ["base", "pki", "tls", "http", "type:tasks"],
  web: ["base", "type:tasks", "type:mesh"],
  deploy: ["base", "pki"],
  container: ["base", "pki"],
  sandbox: ["base", "config", "pki"],
  roles: [
    ...[
      "base",
      "config",
      "pki",
      "tls",
      "http",
      "tasks",
      "coordinator",
      "worker",
      "store",
      "runner",
    ],
    ...["peer", "client", "mesh", "web", "deploy", "container", "sandbox", "deno"],
  ],
  cli: [
    ...["base", "config", "pki", "tls", "http", "tasks", "coordinator", "worker", "runner"],
    ...["client", "container", "sandbox", "roles", "deno"],
    ...["lazy:peer", "lazy:mesh", "lazy:deploy"],
  ],
};

/** Packages that belong to one place; what is not named here may be imported by nobody. */
const packages: [name: RegExp, who: RegExp][] = [
  [/^npm:@grpc\/|^npm:@bufbuild\/protobuf/, /^src\/peer\//],
  [/^npm:@peculiar\/x509|^npm:reflect-metadata/, /^src\/pki\//],
  [/^npm:deno-std/, /^src\/std\//],
  [/^src\/std\/yaml\./, /^src\/(config|pki)\//],
  [/^src\/std\/parse_args\./, /^src\/cli\//],
  [/^src\/std\/fs\./, /^src\//],
];

interface Import {
  from: string;
  /** A file relative to the root, or the specifier of a package. */
  to: string;
  kind: "code" | "type" | "lazy";
}

const root = fileURLToPath(new URL("../../", import.meta.url));

Deno.test("the graph is read", async () => {
  const told = (await imports()).map(({ from, to, kind }) => `${kind} ${from} ${to}`);
  assert.ok(told.includes("type src/base/env.ts src/base/clock.ts"));
  assert.ok(told.includes("code src/base/durations.ts src/base/errors.ts"));
  assert.ok(told.some((line) => line.startsWith("code src/std/yaml.ts npm:deno-std@")));
});

Deno.test("each folder imports only what it may import", async () => {
  const broken = (await imports()).filter(({ from, to }) => folderOf(from) && folderOf(to))
    .filter(({ from, to, kind }) => !folderAllowed(folderOf(from)!, folderOf(to)!, kind))
    .map(told);
  assert.deepEqual(broken, []);
});

Deno.test("each package is imported only where it belongs", async () => {
  const broken = (await imports()).filter(({ from, to }) =>
    from.startsWith("src/") && (to.startsWith("npm:") || to.startsWith("src/std/")) &&
    !from.startsWith("src/std/") &&
    !packages.some(([name, who]) => name.test(to) && who.test(from))
  ).map(told);
  assert.deepEqual(broken, []);
});

Deno.test("what starts, parses and helps loads no package", async () => {
  const graph = await imports();
  const commands = graph.filter(({ to }) => to.startsWith("src/cli/commands/")).map(({ to }) => to);
  for (const start of new Set(["main.ts", "src/cli/run.ts", "src/cli/inside.ts", ...commands])) {
    const heavy = loadedWith(start, graph).filter((file) => /^npm:|^src\/peer\//.test(file));
    assert.deepEqual(heavy, [], start);
  }
});

Deno.test("the program imports neither its tests nor its scripts", async () => {
  const broken = (await imports()).filter(({ from, to }) =>
    from.startsWith("src/") && /^(tests|scripts)\/|_test\.ts$/.test(to)
  ).map(told);
  assert.deepEqual(broken, []);
});

Deno.test("there are no folders without such a rule", async () => {
  const folders = [];
  for await (const found of Deno.readDir(join(root, "src"))) folders.push(found.name);
  assert.deepEqual(folders.filter((name) => name !== "std" && !(name in mayImport)), []);
});

Deno.test("every thread that is started by URL has its file", async () => {
  for (const entry of (await threadEntries(root)).keys()) {
    assert.ok((await Deno.stat(join(root, entry))).isFile, entry);
  }
});

Deno.test("the rules tell an import of code from one of types and a lazy one", () => {
  assert.ok(folderAllowed("cli", "peer", "lazy") && folderAllowed("cli", "peer", "type"));
  assert.ok(!folderAllowed("cli", "peer", "code"));
  assert.ok(folderAllowed("runner", "tasks", "type"));
  assert.ok(!folderAllowed("runner", "tasks", "code") && !folderAllowed("runner", "tasks", "lazy"));
  assert.ok(!folderAllowed("base", "config", "type"));
});

function folderAllowed(from: string, to: string, kind: Import["kind"]): boolean {
  const allowed = mayImport[from] ?? [];
  return from === to || allowed.includes(to) ||
    kind === "type" && (allowed.includes(`type:${to}`) || allowed.includes(`lazy:${to}`)) ||
    kind === "lazy" && allowed.includes(`lazy:${to}`);
}

/** All that an import of the file loads at once, not by a later `import()`. */
function loadedWith(start: string, graph: Import[]): string[] {
  const loaded = new Set([start]);
  for (const file of loaded) {
    for (const { from, to, kind } of graph) if (from === file && kind === "code") loaded.add(to);
  }
  return [...loaded];
}

function folderOf(file: string): string | undefined {
  const folder = /^src\/([^/]+)\//.exec(file)?.[1];
  return folder === "std" ? undefined : folder;
}

function told({ from, to, kind }: Import): string {
  return `${from} imports ${to}${kind === "code" ? "" : ` (${kind})`}`;
}

interface Module {
  specifier: string;
  dependencies?: {
    specifier: string;
    isDynamic?: boolean;
    code?: { specifier?: string };
    type?: { specifier?: string };
  }[];
}

let known: Promise<Import[]> | undefined;

/** All imports of all files of the program, asked for once. */
function imports(): Promise<Import[]> {
  return known ??= readGraph();
}

async function readGraph(): Promise<Import[]> {
  const folder = await Deno.makeTempDir();
  try {
    const files = ["main.ts", ...await Array.fromAsync(sourceFiles(root, "src"))];
    const all = join(folder, "all.ts");
    const line = (file: string) => `import "${pathToFileURL(join(root, file))}";\n`;
    await Deno.writeTextFile(all, files.map(line).join(""));
    const info = await new Deno.Command(Deno.execPath(), {
      args: ["info", "--json", "--config", join(root, "deno.json"), all],
      stderr: "inherit",
    }).output();
    const graph = JSON.parse(new TextDecoder().decode(info.stdout)) as { modules: Module[] };
    return graph.modules.filter(({ specifier }) =>
      specifier.startsWith(String(pathToFileURL(root)))
    )
      .flatMap(importsOf);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function importsOf(module: Module): Import[] {
  return (module.dependencies ?? []).map((dependency) => {
    const target = dependency.code?.specifier ?? dependency.type?.specifier;
    return {
      from: named(module.specifier),
      to: named(target ?? dependency.specifier),
      kind: dependency.isDynamic ? "lazy" : dependency.code ? "code" : "type",
    };
  });
}

function named(specifier: string): string {
  if (specifier.startsWith("file:")) return relative(root, fileURLToPath(specifier));
  return specifier.replace(/^npm:\/(?!\/)/, "npm:");
}

/**
 * Who may import whom: the tables of docs/architecture.md, compared with the module graph. A thread
 * is started by URL and imported by nobody; all files are roots of the graph here, so none is missed.
 */
import assert from "node:assert/strict";
import { join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { sourceFiles, threadEntries } from "../../scripts/entries.ts";
import config from "../../deno.json" with { type: "json" };
import { quotedIn, root, tableRows } from "./document.ts";

/** Folders that a folder may import; with `type:` only types of it, with `lazy:` also by `import()`. */
const mayImport = readRules();

/** Packages, by their names in deno.json, and the places that alone may import them. */
const mayUse: Map<string, string[]> = new Map(
  tableRows("packages").map(([name, places]) => [quotedIn(name!)[0]!, quotedIn(places!)]),
);

interface Import {
  from: string;
  /** A file relative to the root, or the specifier of a package. */
  to: string;
  kind: "code" | "type" | "lazy";
}

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
  const packages = packageTargets();
  const broken = (await imports()).filter(({ from, to }) => {
    if (!from.startsWith("src/") || from.startsWith("src/std/")) return false;
    if (!to.startsWith("npm:") && !to.startsWith("jsr:") && !to.startsWith("src/std/")) {
      return false;
    }
    const places = mayUse.get(packages.get(packageOf(to)) ?? "") ?? [];
    return !places.includes("anywhere") &&
      !places.some((place) => from === `src/${place}` || from.startsWith(`src/${place}/`));
  }).map(told);
  assert.deepEqual(broken, []);
});

Deno.test("each package of deno.json has its place in the table", () => {
  assert.deepEqual(Object.keys(config.imports).filter((name) => !mayUse.has(name)), []);
});

Deno.test("the module graph has no circles", async () => {
  const graph = await imports();
  // Types vanish before anything runs, but a circle of them is one thing in two files as well.
  assert.deepEqual(circles(graph.filter(({ kind }) => kind !== "lazy")), []);
});

Deno.test("a circle is found, and told as the files on it", () => {
  const edge = (from: string, to: string): Import => ({ from, to, kind: "code" });
  const graph = [edge("a", "b"), edge("b", "c"), edge("c", "b"), edge("d", "a"), edge("e", "e")];
  assert.deepEqual(circles(graph), [["b", "c"], ["e"]]);
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
  assert.deepEqual(folders.filter((name) => name !== "std" && !mayImport.has(name)), []);
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
  const allowed = mayImport.get(from) ?? [];
  return from === to || allowed.includes(to) ||
    kind === "type" && (allowed.includes(`type:${to}`) || allowed.includes(`lazy:${to}`)) ||
    kind === "lazy" && allowed.includes(`lazy:${to}`);
}

/** The table of folders: `base, tasks (types), peer (lazy)`, or `all except store; peer (lazy)`. */
function readRules(): Map<string, string[]> {
  const rows = tableRows("imports");
  const all = rows.map(([folder]) => quotedIn(folder!)[0]!);
  const one = (text: string) => {
    const [, name, how] = /^(\w+)(?: \((types|lazy)\))?$/.exec(text) ?? [];
    assert.ok(
      name !== undefined && all.includes(name),
      `docs/architecture.md: no folder "${text}"`,
    );
    return how === "types" ? `type:${name}` : how === "lazy" ? `lazy:${name}` : name;
  };
  return new Map(rows.map(([, , cell], at) => {
    if (cell === "nothing") return [all[at]!, []];
    const [, but, more] = /^all except ([^;]+)(?:; (.+))?$/.exec(cell!) ?? [];
    if (but === undefined) return [all[at]!, cell!.split(", ").map(one)];
    const without = but.split(", ").map(one);
    const lazy = more?.split(", ").map(one) ?? [];
    return [all[at]!, [...all.filter((name) => !without.includes(name)), ...lazy]];
  }));
}

/** The target in deno.json that a specifier belongs to: a package without the path, or a wrapper. */
function packageOf(to: string): string {
  const whole = [...packageTargets().keys()].find((target) => to.startsWith(`${target}/`));
  return whole ?? to.replace(/\.d\.ts$/, ".ts");
}

/** The names in deno.json by their targets in the graph. */
function packageTargets(): Map<string, string> {
  return new Map(
    Object.entries(config.imports).map(([name, target]) => [target.replace(/^\.\//, ""), name]),
  );
}

/** Files that reach themselves by imports, circle by circle, each sorted (Tarjan's algorithm). */
function circles(graph: Import[]): string[][] {
  const next = Map.groupBy(graph, ({ from }) => from);
  const order = new Map<string, number>();
  const lowest = new Map<string, number>();
  const open: string[] = [];
  const found: string[][] = [];
  const visit = (file: string) => {
    order.set(file, order.size);
    lowest.set(file, order.get(file)!);
    open.push(file);
    for (const { to } of next.get(file) ?? []) {
      if (!order.has(to)) visit(to);
      if (open.includes(to)) lowest.set(file, Math.min(lowest.get(file)!, lowest.get(to)!));
    }
    if (lowest.get(file) !== order.get(file)) return;
    const circle = open.splice(open.indexOf(file));
    const isOwn = next.get(file)?.some(({ to }) => to === file) ?? false;
    if (circle.length > 1 || isOwn) found.push(circle.sort());
  };
  for (const file of next.keys()) if (!order.has(file)) visit(file);
  return found.sort();
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

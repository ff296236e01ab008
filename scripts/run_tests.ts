/**
 * Runs the checks, then the tests from source and, beside them, the black-box tests on the executable.
 * The last lines name what was skipped and what failed; the very last one is
 * `N passed, N failed, N skipped`. With CI=true a skip is a failure.
 */
import { join, normalize } from "node:path";
import { type Counts, countsOf, failuresIn } from "./deno_test_output.ts";
import { limited } from "../src/base/limited.ts";
import { leftBehind, runVariable } from "./left_behind.ts";

/** A run that takes longer hangs: it takes up to 12 minutes on 2 cores. */
const limitMs = 24 * 60_000;
/**
 * Checks and the compiler keep a core busy each. Tests wait as often as they work, so the two runs of
 * them share the cores, with a thread for each core (DENO_JOBS) in each run; those on the executable
 * wait most.
 */
const oneForEachCore = limited(navigator.hardwareConcurrency);
const threads = {
  source: navigator.hardwareConcurrency,
  executable: navigator.hardwareConcurrency + 1,
};
/** These start the program as users do, so they run on the executable. */
const blackBox = ["tests/scenario", "tests/cli"];
/**
 * In a whole run, those that run from source as well: the two may run on different releases of Deno,
 * which differ in TLS and in how names and addresses are dialled. All that is below the surface is
 * tested from source anyway.
 */
const alsoFromSource =
  /^tests\/(cli\/.*|scenario\/(foreign|node_tls|rapid_reset|several_addresses|worker)_test\.ts)$/;
const total: Counts = { passed: 0, failed: 0, skipped: 0 };
/** The names of what failed, in the order of the run. */
const failures: string[] = [];
const over = AbortSignal.timeout(limitMs);
const paths = [...Deno.args];
const at = paths.indexOf("--filter");
const filter = at < 0 ? undefined : paths.splice(at, 2)[1];
const chosen = paths.length > 0 || filter !== undefined;
const skips = await Deno.makeTempFile({ prefix: "agent-skips-" });
const thisRun = crypto.randomUUID();

const files = await testFiles(paths.length > 0 ? paths : ["src", "scripts", "tests"]);
const outside = files.filter(isBlackBox);
let executable: { path?: string; reason?: string } | undefined;
await Promise.all([
  ...chosen && outside.length === 0 ? [] : [oneForEachCore(compile)],
  ...chosen ? [] : checks(await shellScripts()).map(oneForEachCore),
]);
const installed = executable?.path === undefined ? new Set() : await ofInstalled(outside);
const isOnce = (file: string) =>
  installed.has(file) || executable?.path !== undefined && !chosen &&
    isBlackBox(file) && !alsoFromSource.test(file);
await Promise.all([
  tests("from source", (await longestFirst(files)).filter((file) => !isOnce(file)), {
    DENO_JOBS: `${threads.source}`,
  }),
  ...executable?.path === undefined ? [] : [tests("the executable", await longestFirst(outside), {
    AGENT_UNDER_TEST: executable.path,
    DENO_JOBS: `${threads.executable}`,
  })],
]);
if (executable !== undefined && executable.path === undefined) {
  total.skipped += outside.length;
  await Deno.writeTextFile(skips, `the executable: ${executable.reason}\n`, { append: true });
}

const left = await leftBehind(thisRun);
if (left.length > 0) say("\nProcesses that tests left behind:", ...left);
checked("no process is left running", left.length === 0);

const reasons = (await Deno.readTextFile(skips)).split("\n").filter((line) => line !== "");
await Deno.remove(skips);
if (reasons.length > 0) say("\nSkipped, because of what is missing:", ...new Set(reasons));
if (Deno.env.get("CI") === "true" && !chosen) {
  checked("nothing is skipped in CI", total.skipped === 0);
}
if (failures.length > 0) say("\nFailed:", ...failures);
say(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
Deno.exit(total.failed > 0 ? 1 : 0);

function checks(scripts: string[]): (() => Promise<void>)[] {
  const deno = Deno.execPath();
  return [
    () => check("types", deno, "check", "--quiet", "."),
    () => check("formatting", deno, "fmt", "--check", "--quiet"),
    () => check("lint", deno, "lint", "--quiet"),
    () => check("generated code", "scripts/proto", "--check"),
    () => check("web UI", "scripts/web", "--check"),
    () => check("generated docs", "scripts/docs", "--check"),
    () => check("shell scripts", "shellcheck", ...scripts),
  ];
}

/** Every script that a shell runs, by its first line. */
async function shellScripts(): Promise<string[]> {
  const found = [".ci/run", "packaging/install.sh", "tests/support/host.sh"];
  for await (const { name, isFile } of Deno.readDir("scripts")) {
    if (!isFile || name.endsWith(".ts")) continue;
    const [first] = (await Deno.readTextFile(`scripts/${name}`)).split("\n");
    if (/\bshell=sh$|\/(ba)?sh$/.test(first!)) found.push(`scripts/${name}`);
  }
  return found.toSorted();
}

/** One check counts as one test; a program that is not installed skips it. */
async function check(name: string, program: string, ...args: string[]): Promise<void> {
  const ran = await run(program, args);
  if (ran === undefined) {
    total.skipped++;
    await Deno.writeTextFile(skips, `${name}: not installed: ${program}\n`, { append: true });
    return say(`check ${name} ... skipped`);
  }
  if (!ran.success) say(ran.output);
  checked(name, ran.success);
}

/** Counts a check and says how it ended. */
function checked(name: string, ok: boolean): void {
  total[ok ? "passed" : "failed"]++;
  if (!ok) failures.push(`check ${name}`);
  say(`check ${name} ... ${ok ? "ok" : "FAILED"}`);
}

async function compile(): Promise<void> {
  executable = await builtExecutable();
}

/** The executable, or why there is none: an unavailable runtime skips tests, it fails none. */
async function builtExecutable(): Promise<{ path?: string; reason?: string }> {
  const given = Deno.env.get("AGENT_UNDER_TEST");
  if (given !== undefined) return { path: given };
  const recovered = Deno.env.has("DENORT_BIN") ? undefined : await run("scripts/runtime_from_pypi");
  const known = recovered === undefined || recovered.success;
  const args = recovered?.success ? ["--runtime-from-pypi"] : [];
  const compiled = await run("scripts/compile", args);
  if (compiled?.success) {
    checked("executable", true);
    return { path: await Deno.realPath("dist/agent") };
  }
  const reason = `${recovered?.output ?? ""}${compiled?.output ?? ""}`.trim();
  if (known) {
    say(reason);
    checked("executable", false);
  }
  return { reason: reason.split("\n").at(-1) ?? "" };
}

/** Runs test files and adds their counts to the total. */
async function tests(
  title: string,
  where: string[],
  env: Record<string, string> = {},
): Promise<void> {
  if (where.length === 0) return;
  const began = performance.now();
  const args = ["test", "-A", "--no-check", "--parallel", "--quiet"];
  if (filter !== undefined) args.push("--filter", filter);
  const own = { AGENT_TEST_SKIPS: skips, [runVariable]: thisRun, NO_COLOR: "1" };
  const ran = await run(Deno.execPath(), [...args, ...where], { ...env, ...own }, `${title} | `);
  say(`${title}: ${((performance.now() - began) / 1000).toFixed(0)} s`);
  const counts = countsOf(ran!.output, ran!.success);
  for (const name of ["passed", "failed", "skipped"] as const) total[name] += counts[name];
  failures.push(...failuresIn(ran!.output).map((name) => `${title}: ${name}`));
  if (over.aborted) failures.push(`${title}: not over after ${limitMs / 60_000} minutes`);
  else if (counts.brokeOff) failures.push(`${title}: the run ended without a summary`);
}

/**
 * Runs a program to its end; `undefined` where it does not exist.
 *
 * @param label shows its output meanwhile, with this before each line.
 */
async function run(
  program: string,
  args: string[] = [],
  env: Record<string, string> = {},
  label = "",
): Promise<{ success: boolean; output: string } | undefined> {
  let child: Deno.ChildProcess;
  try {
    const piped = { stdout: "piped", stderr: "piped" } as const;
    const variables = { DENO: Deno.execPath(), ...env };
    child = new Deno.Command(program, { args, env: variables, signal: over, ...piped }).spawn();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  let output = "";
  const gather = async (stream: ReadableStream<Uint8Array>) => {
    let line = "";
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      output += text;
      const lines = (line + text).split("\n");
      line = lines.pop()!;
      if (label !== "") say(...lines.map((line) => label + line));
    }
  };
  const [status] = await Promise.all([child.status, gather(child.stdout), gather(child.stderr)]);
  return { success: status.success, output };
}

/**
 * The tests in which `agent` is installed on several hosts or in containers. They start it hundreds of
 * times by ssh: from source they take twice as long and show nothing else. Images hold the executable
 * alone.
 */
async function ofInstalled(files: string[]): Promise<Set<string>> {
  const found = new Set<string>();
  for (const file of files) {
    const text = await Deno.readTextFile(file);
    if (/\/support\/(hosts|containers)\.ts"/.test(text)) found.add(file);
  }
  return found;
}

/** So that no core is idle at the end. The length of a file tells roughly how long it takes. */
async function longestFirst(files: string[]): Promise<string[]> {
  const folders = [...blackBox, "tests"];
  const known = await Promise.all(files.map(async (file) => {
    const at = folders.findIndex((folder) => file.startsWith(`${folder}/`));
    return { file, at: at < 0 ? folders.length : at, size: (await Deno.stat(file)).size };
  }));
  return known.toSorted((a, b) => a.at - b.at || b.size - a.size).map(({ file }) => file);
}

function isBlackBox(path: string): boolean {
  return blackBox.some((folder) => path.startsWith(`${folder}/`));
}

/** The test files at or below the paths; Deno itself would also take a file named test.ts. */
async function testFiles(paths: string[]): Promise<string[]> {
  const found: string[] = [];
  for (const path of paths) {
    if ((await Deno.stat(path)).isFile) {
      found.push(normalize(path));
      continue;
    }
    const names = (await Array.fromAsync(Deno.readDir(path))).map(({ name }) => join(path, name));
    const folders = await Promise.all(
      names.map(async (name) => (await Deno.stat(name)).isDirectory),
    );
    found.push(...names.filter((name, at) => !folders[at] && name.endsWith("_test.ts")));
    found.push(...await testFiles(names.filter((_, at) => folders[at])));
  }
  return found.toSorted();
}

function say(...lines: string[]): void {
  Deno.stdout.writeSync(new TextEncoder().encode(lines.map((line) => `${line}\n`).join("")));
}

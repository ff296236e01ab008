/**
 * Runs the checks, then the tests from source, then the black-box tests once more on the
 * executable. Closes with one line: `N passed, N failed, N skipped`.
 */
import { join, normalize } from "node:path";
import { leftBehind, runVariable } from "./left_behind.ts";

/** What is not over by then hangs; the whole run is to stay below 25 minutes on 2 cores. */
const limitMs = 24 * 60_000;
/** These start the program as users do, so they run on the source and on the executable. */
const blackBox = ["tests/cli", "tests/scenario"];
const shellScripts = [
  ...["agent", "compile", "test", "proto", "find_deno.sh", "fetch_deno.sh"].map((name) =>
    `scripts/${name}`
  ),
  ".ci/run",
  "tests/support/host.sh",
];

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

const total: Counts = { passed: 0, failed: 0, skipped: 0 };
const over = AbortSignal.timeout(limitMs);
const paths = [...Deno.args];
const at = paths.indexOf("--filter");
const filter = at < 0 ? undefined : paths.splice(at, 2)[1];
const chosen = paths.length > 0 || filter !== undefined;
const skips = await Deno.makeTempFile({ prefix: "agent-skips-" });
const thisRun = crypto.randomUUID();

if (!chosen) await checks();
const files = await testFiles(paths.length > 0 ? paths : ["src", "scripts", "tests"]);
const outside = files.filter(isBlackBox);
const executable = chosen && outside.length === 0 ? undefined : await builtExecutable();
await tests("from source", files.filter((file) => !isBlackBox(file)));
const fromSource = await tests("from source, as a user", outside);
if (executable?.path !== undefined) {
  await tests("the executable, as a user", outside, { AGENT_UNDER_TEST: executable.path });
} else if (executable !== undefined) {
  total.skipped += fromSource.passed + fromSource.failed + fromSource.skipped;
  await Deno.writeTextFile(skips, `the executable: ${executable.reason}\n`, { append: true });
}

const left = await leftBehind(thisRun);
if (left.length > 0) say("\nProcesses that tests have left behind:", ...left);
total[left.length > 0 ? "failed" : "passed"]++;
say(`check nothing is left running ... ${left.length > 0 ? "FAILED" : "ok"}`);

const reasons = (await Deno.readTextFile(skips)).split("\n").filter((line) => line !== "");
await Deno.remove(skips);
if (reasons.length > 0) say("Skipped for want of:", ...new Set(reasons));
say(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
Deno.exit(total.failed > 0 ? 1 : 0);

async function checks(): Promise<void> {
  const deno = Deno.execPath();
  await check("formatting", deno, "fmt", "--check", "--quiet");
  await check("lint", deno, "lint", "--quiet");
  await check("types", deno, "check", "--quiet", ".");
  await check("generated code", "scripts/proto", "--check");
  await check("shell scripts", "shellcheck", ...shellScripts);
}

/** One check counts as one test; a program that is not here skips it. */
async function check(name: string, program: string, ...args: string[]): Promise<void> {
  const ran = await run(program, args);
  if (ran === undefined) {
    total.skipped++;
    await Deno.writeTextFile(skips, `${name}: not installed: ${program}\n`, { append: true });
  } else if (ran.success) {
    total.passed++;
  } else {
    total.failed++;
    say(ran.output);
  }
  say(`check ${name} ... ${ran === undefined ? "skipped" : ran.success ? "ok" : "FAILED"}`);
}

/** The executable, or why there is none: a runtime that cannot be had is not our failure. */
async function builtExecutable(): Promise<{ path?: string; reason?: string }> {
  const given = Deno.env.get("AGENT_UNDER_TEST");
  if (given !== undefined) return { path: given };
  const recovered = Deno.env.has("DENORT_BIN") ? undefined : await run("scripts/runtime_from_pypi");
  const known = recovered === undefined || recovered.success;
  const args = recovered?.success ? ["--runtime-from-pypi"] : [];
  const compiled = await run("scripts/compile", args);
  if (compiled?.success) {
    say("check executable ... ok");
    total.passed++;
    return { path: await Deno.realPath("dist/agent") };
  }
  const reason = `${recovered?.output ?? ""}${compiled?.output ?? ""}`.trim();
  if (known) {
    total.failed++;
    say(reason, "check executable ... FAILED");
  }
  return { reason: reason.split("\n").at(-1) ?? "" };
}

/** Runs test files and adds what came of them to the total. */
async function tests(
  title: string,
  where: string[],
  env: Record<string, string> = {},
): Promise<Counts> {
  if (where.length === 0) return { passed: 0, failed: 0, skipped: 0 };
  say(`\n== ${title}`);
  const args = ["test", "-A", "--no-check", "--parallel", "--quiet"];
  if (filter !== undefined) args.push("--filter", filter);
  const own = { AGENT_TEST_SKIPS: skips, [runVariable]: thisRun, NO_COLOR: "1" };
  const ran = await run(Deno.execPath(), [...args, ...where], { ...env, ...own }, true);
  const counts = counted(ran!.output, ran!.success);
  for (const name of ["passed", "failed", "skipped"] as const) total[name] += counts[name];
  if (over.aborted) say(`Not over after ${limitMs / 60_000} minutes`);
  return counts;
}

/** Reads Deno's own summary; a run that breaks off without one counts as one failure. */
function counted(output: string, success: boolean): Counts {
  const line = output.split("\n").findLast((line) => /\| \d+ passed .*\| \d+ failed/.test(line));
  const count = (word: string) => Number(new RegExp(`(\\d+) ${word}`).exec(line ?? "")?.[1] ?? 0);
  const failed = count("failed");
  return {
    passed: count("passed"),
    failed: success || failed > 0 ? failed : 1,
    skipped: count("ignored"),
  };
}

/** Runs a program to its end; `undefined` where it does not exist. */
async function run(
  program: string,
  args: string[] = [],
  env: Record<string, string> = {},
  shown = false,
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
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      output += text;
      if (shown) await Deno.stdout.write(new TextEncoder().encode(text));
    }
  };
  const [status] = await Promise.all([child.status, gather(child.stdout), gather(child.stderr)]);
  return { success: status.success, output };
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

import { selfCommand } from "../../base/self.ts";
import { UserError } from "../../base/errors.ts";
import { leashVariable } from "../leash.ts";

/** Variables that children need; none of `AGENT_*`, so that no setting of the user gets in. */
export const passedVariables = [
  "PATH",
  "HOME",
  "TMPDIR",
  "LANG",
  "LC_ALL",
  "TZ",
  "DENO_DIR",
  "XDG_CACHE_HOME",
  "DENO_TLS_CA_STORE",
  "DENO_CERT",
  "SystemRoot",
];

/** From source a start takes 2 s on a busy machine. */
const readyWithinMs = 20_000;
const stopWithinMs = 6_000;
/** Enough to see what went wrong. */
const keptLines = 12;

export interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  env?: Record<string, string>;
  /** Called with each line of stdout, and of stderr, as it comes. */
  line?: (line: string) => Promise<void>;
  errorLine?: (line: string) => Promise<void>;
  /** Exit codes that are no failure; 0 without it. */
  expected?: number[];
}

/** A coordinator or worker that is up. */
export interface Role extends AsyncDisposable {
  /** Of its ready line. */
  address: string;
  /** Settles when it ends by itself, which no role should, with what it wrote last. */
  ended: Promise<ProgramFailed>;
}

export interface Programs {
  /** Runs a command to its end. */
  run(args: string[], options?: RunOptions): Promise<Ended>;
  /** Starts a role and waits until it says that it is ready. */
  start(args: string[], env?: Record<string, string>): Promise<Role>;
}

/**
 * Starts this same program again, as a person would on the hosts of a cluster. Every child is on a
 * leash (see leash.ts): it ends when this process does, for whatever reason.
 */
export function programs(
  base: Record<string, string>,
  variable: (name: string) => string | undefined,
  signal: AbortSignal,
): Programs {
  const inherited: Record<string, string> = {};
  for (const name of passedVariables) {
    const value = variable(name);
    if (value !== undefined) inherited[name] = value;
  }
  const spawn: Spawn = (args, env) => {
    signal.throwIfAborted();
    const self = selfCommand();
    return new Deno.Command(self.command, {
      args: [...self.args, ...args],
      clearEnv: true,
      env: { ...inherited, NO_COLOR: "1", ...base, ...env, [leashVariable]: "1" },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  };
  return {
    run: (args, options = {}) => runProgram(spawn, signal, args, options),
    start: (args, env = {}) => startRole(spawn, signal, args, env),
  };
}

type Spawn = (args: string[], env: Record<string, string>) => Deno.ChildProcess;

async function runProgram(
  spawn: Spawn,
  signal: AbortSignal,
  args: string[],
  options: RunOptions,
): Promise<Ended> {
  const child = spawn(args, options.env ?? {});
  const end = () => endQuietly(child, "SIGKILL");
  signal.addEventListener("abort", end);
  try {
    const out = eachLine(child.stdout, options.line);
    const error = eachLine(child.stderr, options.errorLine);
    const [{ code }, stdout, stderr] = await Promise.all([child.status, out, error]);
    signal.throwIfAborted();
    if (!(options.expected ?? [0]).includes(code)) throw failed(args, code, stderr);
    return { code, stdout, stderr };
  } finally {
    signal.removeEventListener("abort", end);
    await closeQuietly(child.stdin);
  }
}

async function startRole(
  spawn: Spawn,
  signal: AbortSignal,
  args: string[],
  env: Record<string, string>,
): Promise<Role> {
  const child = spawn([...args, "--log.format=json"], env);
  const ready = Promise.withResolvers<string>();
  const last: string[] = [];
  const said = eachLine(child.stderr, (line) => {
    last.push(line);
    if (last.length > keptLines) last.shift();
    const fields = readyFields(line);
    if (fields !== undefined) ready.resolve(fields.address ?? "");
    return Promise.resolve();
  });
  const silent = child.stdout.cancel();
  const ended = Promise.all([child.status, said, silent]).then(([{ code }]) =>
    failed(args, code, last.join("\n"))
  );
  const dispose = async () => {
    const late = setTimeout(() => endQuietly(child, "SIGKILL"), stopWithinMs);
    endQuietly(child, "SIGTERM");
    await ended;
    clearTimeout(late);
    await closeQuietly(child.stdin);
  };
  const late = setTimeout(
    () => ready.reject(new UserError(`"agent ${args[0]}" was not ready in time`)),
    readyWithinMs,
  );
  const stop = () => ready.reject(signal.reason);
  signal.addEventListener("abort", stop);
  try {
    const first = await Promise.race([ready.promise, ended]);
    if (first instanceof ProgramFailed) throw first;
    return { address: first, ended, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  } finally {
    clearTimeout(late);
    signal.removeEventListener("abort", stop);
  }
}

/** A program ended with an unexpected exit code; `output` is what it wrote last. */
export class ProgramFailed extends UserError {
  override name = "ProgramFailed";
  constructor(args: string[], code: number, readonly output: string) {
    super(`"agent ${args.join(" ")}" ended with exit code ${code}`, { code: "demo_failed" });
  }
}

function failed(args: string[], code: number, stderr: string): ProgramFailed {
  const lines = stderr.trim().split("\n").slice(-keptLines);
  return new ProgramFailed(args, code, lines.map((line) => `  ${line}\n`).join(""));
}

function readyFields(line: string): { address?: string } | undefined {
  if (!line.startsWith("{")) return undefined;
  const fields = JSON.parse(line) as { msg?: string; address?: string };
  return fields.msg === "ready" ? fields : undefined;
}

/** The whole of a stream as text; each line is handed on as it comes. */
async function eachLine(
  stream: ReadableStream<Uint8Array>,
  line: (text: string) => Promise<void> = () => Promise.resolve(),
): Promise<string> {
  let all = "";
  let handed = 0;
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    all += decoder.decode(chunk, { stream: true });
    for (let end = all.indexOf("\n", handed); end >= 0; end = all.indexOf("\n", handed)) {
      const text = all.slice(handed, end);
      handed = end + 1;
      await line(text);
    }
  }
  return all;
}

function endQuietly(child: Deno.ChildProcess, name: Deno.Signal): void {
  try {
    child.kill(name);
  } catch (error) {
    // It has ended by itself.
    if (!(error instanceof Deno.errors.NotFound || error instanceof TypeError)) throw error;
  }
}

async function closeQuietly(stdin: WritableStream<Uint8Array>): Promise<void> {
  await stdin.close().catch(() => {/* The end of the child has closed it. */});
}

import { selfCommand } from "../../src/base/self.ts";
import { eventually } from "./eventually.ts";
import { type Home, tempHome } from "./home.ts";

/** Time for a role to become ready; from source on a busy machine it takes 2 s. */
const readyWithinMs = 30_000;
/** Longer than the grace period of any role. */
const stopWithinMs = 60_000;
/** Longer than any command under test takes. */
const runWithinMs = 120_000;

export interface RunOptions {
  stdin?: string | Uint8Array<ArrayBuffer>;
  /** Added to the environment of the home; `undefined` removes a variable. */
  env?: Record<string, string | undefined>;
  /** Default: a new one that is removed afterwards. */
  home?: Home;
  cwd?: string;
  /** Kills the program when it aborts, as `withinMs` does. */
  signal?: AbortSignal;
  withinMs?: number;
  /** Command that starts it: `["ip", "netns", "exec", "a"]`. */
  through?: string[];
}

export interface Ended {
  code: number;
  signal: Deno.Signal | null;
}

export interface Ran extends Ended {
  stdout: string;
  stderr: string;
  /** stdout byte for byte. */
  bytes: Uint8Array;
}

/** A running role. Disposal ends it; disposing twice is fine. */
export interface Running extends AsyncDisposable {
  pid: number;
  /** The address in the ready line: `host:port`, with the real port. */
  address: string;
  /** All fields of the ready line. */
  ready: Record<string, string>;
  stdout(): string;
  /** Everything on its stderr so far. */
  stderr(): string;
  /** Waits until stderr contains the text. */
  said(text: string | RegExp, withinMs?: number): Promise<void>;
  /** Sends SIGTERM and waits for the end; throws if it does not stop. */
  stop(): Promise<Ended>;
  kill(signal?: Deno.Signal): void;
  exit: Promise<Ended>;
}

/** The program under test: the executable named by AGENT_UNDER_TEST, else the source. */
export const agent = {
  /** True if it is the executable. */
  get compiled(): boolean {
    return Deno.env.get("AGENT_UNDER_TEST") !== undefined;
  },

  /** The command line that starts it. */
  command(...args: string[]): { command: string; args: string[] } {
    const executable = Deno.env.get("AGENT_UNDER_TEST");
    if (executable !== undefined) return { command: executable, args };
    const self = selfCommand();
    return { command: self.command, args: [...self.args, ...args] };
  },

  /** Runs it to its end. */
  async run(args: string[], options: RunOptions = {}): Promise<Ran> {
    await using own = options.home === undefined ? await tempHome() : undefined;
    const child = spawn(args, options, options.home ?? own!, options.stdin !== undefined);
    const late = AbortSignal.timeout(options.withinMs ?? runWithinMs);
    const end = () => killQuietly(child, "SIGKILL");
    late.addEventListener("abort", end);
    options.signal?.addEventListener("abort", end);
    try {
      const [ended] = await Promise.all([child.output(), feed(child, options.stdin)]);
      if (late.aborted) {
        throw new Error(`Still running after the time limit: agent ${args.join(" ")}`);
      }
      const decoder = new TextDecoder();
      return {
        code: ended.code,
        signal: ended.signal,
        stdout: decoder.decode(ended.stdout),
        stderr: decoder.decode(ended.stderr),
        bytes: ended.stdout,
      };
    } finally {
      late.removeEventListener("abort", end);
      options.signal?.removeEventListener("abort", end);
    }
  },

  /** Starts a role and waits for its ready line: `await using w = await agent.start("worker")`. */
  start(role: string, args: string[] = [], options: RunOptions = {}): Promise<Running> {
    return start([role, ...args], options);
  },
};

async function start(args: string[], options: RunOptions): Promise<Running> {
  const own = options.home === undefined ? await tempHome() : undefined;
  const child = spawn(args, options, options.home ?? own!, false);
  const stdout = gather(child.stdout);
  const stderr = gather(child.stderr);
  let over = false;
  const exit = Promise.all([child.status, stdout.ended, stderr.ended]).then(([status]) => {
    over = true;
    return { code: status.code, signal: status.signal };
  });
  const endBy = async (signal: Deno.Signal, withinMs: number) => {
    killQuietly(child, signal);
    if (await within(exit, withinMs) !== undefined) return true;
    killQuietly(child, "SIGKILL");
    await exit;
    return false;
  };
  const dispose = async () => {
    if (!over) await endBy("SIGTERM", stopWithinMs);
    await own?.[Symbol.asyncDispose]();
  };
  const line = `agent ${args.join(" ")}`;
  const running: Running = {
    pid: child.pid,
    address: "",
    ready: {},
    stdout: stdout.text,
    stderr: stderr.text,
    said: async (text, withinMs = readyWithinMs) => {
      await eventually(withinMs, () => {
        if (typeof text === "string" ? stderr.text().includes(text) : text.test(stderr.text())) {
          return true;
        }
        throw new Error(`${line} did not say ${text}, but:\n${stderr.text()}`);
      });
    },
    async stop() {
      if (!await endBy("SIGTERM", stopWithinMs)) {
        throw new Error(`${line} did not stop on SIGTERM; it said:\n${stderr.text()}`);
      }
      return await exit;
    },
    kill: (signal = "SIGKILL") => killQuietly(child, signal),
    exit,
    [Symbol.asyncDispose]: dispose,
  };
  try {
    running.ready = await eventually(readyWithinMs, () => {
      const fields = readyFields(stderr.text());
      if (fields !== undefined || over) return fields ?? {};
      throw new Error(`${line} did not become ready; it said:\n${stderr.text()}`);
    });
    if (running.ready.role === undefined) {
      throw new Error(`${line} ended before it was ready; it said:\n${stderr.text()}`);
    }
    running.address = running.ready.address ?? "";
    return running;
  } catch (error) {
    await dispose();
    throw error;
  }
}

function spawn(args: string[], options: RunOptions, home: Home, input: boolean): Deno.ChildProcess {
  const self = agent.command(...args);
  const [command, ...rest] = [...options.through ?? [], self.command, ...self.args];
  const env = { ...home.env };
  for (const [name, value] of Object.entries(options.env ?? {})) {
    if (value === undefined) delete env[name];
    else env[name] = value;
  }
  return new Deno.Command(command!, {
    args: rest,
    cwd: options.cwd ?? home.path,
    clearEnv: true,
    env,
    stdin: input ? "piped" : "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Writes the input; the program may end without reading all of it. */
async function feed(child: Deno.ChildProcess, input: RunOptions["stdin"]): Promise<void> {
  if (input === undefined) return;
  const writer = child.stdin.getWriter();
  try {
    await writer.write(typeof input === "string" ? new TextEncoder().encode(input) : input);
    await writer.close();
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

function gather(stream: ReadableStream<Uint8Array>) {
  let text = "";
  const decoder = new TextDecoder();
  const ended = (async () => {
    for await (const chunk of stream) text += decoder.decode(chunk, { stream: true });
  })();
  return { text: () => text, ended };
}

/** The fields of the ready line in either format, or undefined before that line. */
export function readyFields(stderr: string): Record<string, string> | undefined {
  for (const line of stderr.split("\n").slice(0, -1)) {
    if (line.startsWith("{")) {
      const fields = JSON.parse(line) as Record<string, unknown>;
      if (fields.msg !== "ready") continue;
      return Object.fromEntries(Object.entries(fields).map(([name, at]) => [name, String(at)]));
    }
    if (!line.startsWith("ready ")) continue;
    return Object.fromEntries(
      [...line.matchAll(/(\w+)=("(?:[^"\\]|\\.)*"|\S+)/g)].map(([, name, value]) => [
        name!,
        value!.startsWith('"') ? JSON.parse(value!) as string : value!,
      ]),
    );
  }
  return undefined;
}

function killQuietly(child: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    child.kill(signal);
  } catch (error) {
    // It has ended by itself.
    if (!(error instanceof Deno.errors.NotFound || error instanceof TypeError)) throw error;
  }
}

async function within<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<undefined>((resolve) => timer = setTimeout(resolve, ms, undefined));
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

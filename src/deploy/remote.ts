/**
 * Runs POSIX shell scripts on a peer. A script travels on standard input and not on the command
 * line: the login shell of the peer may be any shell, and a command line is visible to every user.
 *
 * What is executed is one constant line, `sh -c 'eval "$(dd bs=1 count=N)"'`. `dd` reads exactly the
 * N bytes of the script, one by one, so that the script itself can read what follows: certificates,
 * keys, the token, an executable. Line and script are the same for ssh, for `docker exec` and for
 * this host.
 */
import type { Clock } from "../base/clock.ts";
import { shellQuoted } from "../base/shell_quoted.ts";

/** How a peer is reached. */
export interface Transport {
  /** For messages: `ssh b.lan`, `container web on b.lan`. */
  readonly label: string;
  /** The program that runs one shell line on the peer, with its arguments. */
  command(line: string): { program: string; args: string[] };
}

/** How the script becomes root on the peer. */
export type Elevation = { by: "sudo"; password?: string | undefined } | { by: "doas" } | undefined;

export interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

/** Shell variables that a script starts with; undefined stands for an empty one. */
export type Variables = Record<string, string | number | undefined>;

export interface RunOptions {
  variables?: Variables;
  /** Follows the script on its standard input. */
  input?: Uint8Array | ReadableStream<Uint8Array>;
  elevation?: Elevation;
  /** The script is ended after this time. */
  timeoutMs: number;
  clock: Clock;
  signal: AbortSignal;
}

/** Output kept of one script. What a peer prints is not trusted to be short. */
const maxOutputBytes = 1024 * 1024;

/** Runs a script to its end. Never throws for what the peer does: see `code` and `stderr`. */
export async function run(
  transport: Transport,
  script: string,
  options: RunOptions,
): Promise<Ran> {
  await using session = open(transport, script, options);
  if (options.input instanceof ReadableStream) {
    for await (const chunk of options.input) await session.send(chunk);
  } else if (options.input !== undefined) {
    await session.send(options.input);
  }
  return await session.end();
}

/** A script that is running, for an exchange of several messages. */
export interface Session extends AsyncDisposable {
  /** Writes to the script's standard input. Does nothing once the script has ended. */
  send(data: Uint8Array | string): Promise<void>;
  /**
   * Waits for a line of output that is exactly `line`, and returns what was printed before it;
   * undefined if the script ends without it.
   */
  until(line: string): Promise<string | undefined>;
  /** Closes the script's standard input and waits for its end. */
  end(): Promise<Ran>;
}

export function open(transport: Transport, script: string, options: RunOptions): Session {
  const { variables = {}, elevation, timeoutMs, clock, signal } = options;
  const assignments = Object.entries(variables)
    .map(([name, value]) => `${name}=${value === undefined ? "" : shellQuoted(String(value))}\n`);
  const bytes = new TextEncoder().encode(`${assignments.join("")}${script}\n`);
  const password = elevation?.by === "sudo" ? elevation.password : undefined;
  const announce = password === undefined ? "" : `echo ${begins}; `;
  const line = `sh -c '${announce}eval "$(dd bs=1 count=${bytes.length} 2>/dev/null)"'`;
  const { program, args } = transport.command(elevated(line, elevation));
  const child = new Deno.Command(program, {
    args,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const kill = () => endProcess(child);
  const over = new AbortController();
  let timedOut = false;
  void clock.sleep(timeoutMs, over.signal).then(() => {
    timedOut = true;
    kill();
  }, () => {/* The script ended in time. */});
  signal.addEventListener("abort", kill, { once: true });

  const writer = child.stdin.getWriter();
  let closed = false;
  const send = async (data: Uint8Array | string) => {
    if (closed) return;
    try {
      await writer.write(typeof data === "string" ? new TextEncoder().encode(data) : data);
    } catch {
      closed = true; // The script has ended; its exit code and its messages say why.
    }
  };
  const close = async () => {
    if (closed) return;
    closed = true;
    await writer.close().catch(() => {/* As above. */});
  };
  const answer = answerOnce(password, send, close);
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr, answer);
  const begun = (async () => {
    if (password === undefined || await stdout.until(begins) !== undefined) await send(bytes);
  })();
  const finish = async (): Promise<Ran> => {
    await begun;
    await close();
    const [{ code }] = await Promise.all([child.status, stdout.ended, stderr.ended]);
    over.abort();
    signal.removeEventListener("abort", kill);
    const printed = stdout.text().replace(`${begins}\n`, "");
    if (!timedOut) {
      return { code, stdout: printed, stderr: stderr.text().replaceAll(sudoQuestion, "") };
    }
    const seconds = Math.round(timeoutMs / 1000);
    return { code: 124, stdout: printed, stderr: `no answer within ${seconds} s` };
  };
  return {
    async send(data) {
      await begun;
      await send(data);
    },
    async until(wanted) {
      await begun;
      return await stdout.until(wanted);
    },
    end: finish,
    async [Symbol.asyncDispose]() {
      kill();
      await finish();
    },
  };
}

/**
 * Answers the first question of sudo with the password. A second question means that it is wrong: then
 * standard input is closed and sudo gives up, so that a typing mistake counts as one failed attempt
 * and does not lock the account.
 *
 * @returns a function to call with all that was printed so far.
 */
function answerOnce(
  password: string | undefined,
  send: (data: string) => Promise<void>,
  close: () => Promise<void>,
): (printed: string) => void {
  let answered = 0;
  return (printed) => {
    const questions = printed.split(sudoQuestion).length - 1;
    if (password === undefined || questions === answered) return;
    answered = questions;
    void (questions === 1 ? send(`${password}\n`) : close());
  };
}

function elevated(line: string, elevation: Elevation): string {
  if (elevation === undefined) return line;
  if (elevation.by === "doas") return `doas -n ${line}`;
  // With -S sudo asks on standard error, and reads the answer from standard input byte by byte.
  return elevation.password === undefined
    ? `sudo -n ${line}`
    : `sudo -k -S -p '${sudoQuestion}' ${line}`;
}

/** What sudo prints to ask for the password. */
const sudoQuestion = "[agent asks for the password]";
/** The line by which the elevated shell says that it runs: sudo asks no more, and reads no more. */
const begins = "agent-script-begins";

/**
 * Gathers output, and lets one reader wait for a line of it.
 *
 * @param onText called with all the text so far, each time more arrives.
 */
function collect(stream: ReadableStream<Uint8Array>, onText: (all: string) => void = () => {}) {
  let all = "";
  let taken = 0;
  let done = false;
  let wake = () => {};
  const ended = (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of stream) {
      // Read on, so that the peer is not stopped by a full pipe, but keep no more.
      if (all.length < maxOutputBytes) all += decoder.decode(chunk, { stream: true });
      onText(all);
      wake();
    }
    done = true;
    wake();
  })();
  return {
    ended,
    text: () => all,
    async until(line: string): Promise<string | undefined> {
      for (;;) {
        const rest = all.slice(taken);
        const at = `\n${rest}`.indexOf(`\n${line}\n`);
        if (at >= 0) {
          taken += at + line.length + 1;
          return rest.slice(0, at);
        }
        if (done) return undefined;
        await new Promise<void>((resolve) => wake = resolve);
      }
    },
  };
}

/** This host itself, for containers that run here. */
export const localTransport: Transport = {
  label: "this host",
  command: (line) => ({ program: "sh", args: ["-c", line] }),
};

/** Commands in a container, by the `docker` or `podman` of the host that runs it. */
export function inContainer(host: Transport, engine: string, name: string): Transport {
  return {
    label: `container ${name} on ${host.label}`,
    command: (line) => host.command(`${shellQuoted(engine)} exec -i ${shellQuoted(name)} ${line}`),
  };
}

/** Tells a program to end; one that has ended already is fine. */
export function endProcess(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGTERM");
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
}

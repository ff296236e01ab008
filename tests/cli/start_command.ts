import { agent } from "../support/agent.ts";
import type { Home } from "../support/home.ts";

/** A running command and its output. Disposal ends it. */
export interface StartedCommand extends AsyncDisposable {
  stdout(): Uint8Array;
  stderr(): Uint8Array;
  /** stderr as text. */
  said(): string;
  /** Settles when it has ended and all its output was read. */
  code: Promise<number>;
  kill(signal: Deno.Signal): void;
}

export function startCommand(home: Home, ...words: string[]): StartedCommand {
  const { command, args } = agent.command(...words);
  const child = new Deno.Command(command, {
    args,
    cwd: home.path,
    clearEnv: true,
    env: home.env,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const stdout = gather(child.stdout);
  const stderr = gather(child.stderr);
  let over = false;
  const code = Promise.all([child.status, stdout.ended, stderr.ended]).then(([status]) => {
    over = true;
    return status.code;
  });
  return {
    stdout: stdout.bytes,
    stderr: stderr.bytes,
    said: () => new TextDecoder().decode(stderr.bytes()),
    code,
    kill: (signal) => child.kill(signal),
    async [Symbol.asyncDispose]() {
      if (!over) child.kill("SIGKILL");
      await code;
    },
  };
}

function gather(stream: ReadableStream<Uint8Array>) {
  let all = new Uint8Array();
  const ended = (async () => {
    for await (const chunk of stream) {
      const longer = new Uint8Array(all.length + chunk.length);
      longer.set(all);
      longer.set(chunk, all.length);
      all = longer;
    }
  })();
  return { bytes: () => all, ended };
}

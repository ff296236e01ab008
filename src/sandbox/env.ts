import { systemClock } from "../base/clock.ts";
import type { Env, Output } from "../base/env.ts";
import { messageOf, UserError } from "../base/errors.ts";
import { createLog, type Level } from "../base/log.ts";

/** What the main thread finds out once and hands to each thread; plain data. */
export interface EnvFacts {
  color: { stdout: boolean; stderr: boolean };
  configRoot: string;
  stateRoot: string;
  log: { level: Level; format: "text" | "json" };
}

/** Standard output was closed by its reader, as `head` does: the end of the command, no error. */
class OutputClosed extends UserError {
  override name = "OutputClosed";
  constructor() {
    super("Standard output was closed", { code: "output_closed" });
  }
}

/** The real world. */
export function realEnv(facts: EnvFacts, signal: AbortSignal): Env {
  return {
    clock: systemClock,
    log: createLog({
      ...facts.log,
      now: () => Date.now(),
      write: (line) => writeAllSync(line),
    }),
    stdout: output(Deno.stdout, facts.color.stdout),
    stderr: output(Deno.stderr, facts.color.stderr),
    stdin: {
      get isTerminal() {
        return Deno.stdin.isTerminal();
      },
      get readable() {
        return Deno.stdin.readable;
      },
    },
    variable: (name) => Deno.env.get(name),
    signal,
    configRoot: facts.configRoot,
    stateRoot: facts.stateRoot,
  };
}

const encoder = new TextEncoder();

export function output(stream: typeof Deno.stdout, color: boolean): Output {
  return {
    isTerminal: stream.isTerminal(),
    color,
    async write(data) {
      const bytes = typeof data === "string" ? encoder.encode(data) : data;
      try {
        for (let done = 0; done < bytes.length;) done += await stream.write(bytes.subarray(done));
      } catch (error) {
        if (error instanceof Deno.errors.BrokenPipe) throw new OutputClosed();
        const reason = messageOf(error);
        throw new UserError(`Writing the output failed: ${reason}`, { cause: error });
      }
    },
  };
}

/** A role goes on when nobody reads its log any more. */
function writeAllSync(line: string): void {
  const bytes = encoder.encode(line);
  try {
    for (let done = 0; done < bytes.length;) done += Deno.stderr.writeSync(bytes.subarray(done));
  } catch (error) {
    const gone = error instanceof Deno.errors.BrokenPipe || error instanceof Deno.errors.WouldBlock;
    if (!gone) throw error;
  }
}

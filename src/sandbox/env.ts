import { fstatSync, type Stats } from "node:fs";
import { systemClock } from "../base/clock.ts";
import type { Env, Output } from "../base/env.ts";
import { messageOf, UserError } from "../base/errors.ts";
import { createLog, type Level } from "../base/log.ts";

/** What the main thread determines once and hands to each thread; plain data. */
export interface EnvFacts {
  color: { stdout: boolean; stderr: boolean };
  configRoot: string;
  stateRoot: string;
  log: { level: Level; format: "text" | "json" };
}

/** The reader closed the output, as `head` does: most commands then end without an error. */
class OutputClosed extends UserError {
  override name = "OutputClosed";
  constructor() {
    super("The output was closed by its reader", { code: "output_closed" });
  }
}

/** The environment of a real process. */
export function realEnv(facts: EnvFacts, signal: AbortSignal): Env {
  return {
    clock: systemClock,
    log: createLog({
      ...facts.log,
      now: () => Date.now(),
      write: (line) => writeAllSync(line),
    }),
    stdout: output(1, facts.color.stdout),
    stderr: output(2, facts.color.stderr),
    stdin: {
      get isTerminal() {
        return Deno.stdin.isTerminal();
      },
      get isGiven() {
        const facts = factsOf(0);
        return facts !== undefined && (facts.isFIFO() || facts.isFile() && facts.size > 0);
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

/** @param descriptor 1 is stdout, 2 is stderr. */
export function output(descriptor: 1 | 2, color: boolean): Output {
  const stream = descriptor === 1 ? Deno.stdout : Deno.stderr;
  return {
    isTerminal: stream.isTerminal(),
    get isPipe() {
      return factsOf(descriptor)?.isFIFO() ?? false;
    },
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

/** The file behind a descriptor; it needs no grant. */
function factsOf(descriptor: number): Stats | undefined {
  try {
    return fstatSync(descriptor);
  } catch {
    return undefined; // Closed by the one that started us.
  }
}

/** A role keeps running when its log cannot be written. */
function writeAllSync(line: string): void {
  const bytes = encoder.encode(line);
  try {
    for (let done = 0; done < bytes.length;) done += Deno.stderr.writeSync(bytes.subarray(done));
  } catch {
    // A closed pipe, a closed terminal, or a full disk.
  }
}

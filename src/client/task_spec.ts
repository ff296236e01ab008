import { UsageError } from "../base/errors.ts";
import { limits } from "../tasks/limits.ts";
import { parseLabel } from "../tasks/names.ts";
import type { SubmitOptions } from "../tasks/service.ts";
import type { TaskSpec } from "../tasks/task.ts";

/** The options of `submit` as they were parsed. */
export interface SubmitRequest {
  selector: Readonly<Record<string, string>>;
  env: Readonly<Record<string, string>>;
  cwd: string | undefined;
  shell: boolean;
  timeout: number | undefined;
  retries: number;
  retryDelay: number;
  artifact: string[];
  array: string | undefined;
  idempotencyKey: string | undefined;
}

/**
 * Checks all of a submit before anything is sent, so that what is refused is refused with the name
 * of its option. The coordinator checks again: it does not trust its callers.
 *
 * @param words what followed `--`.
 * @throws {UsageError} for the first thing that is wrong.
 */
export function taskSpec(
  request: SubmitRequest,
  words: string[],
): { spec: TaskSpec; options: SubmitOptions } {
  const array = request.array === undefined ? undefined : parseRange(request.array);
  const key = request.idempotencyKey;
  if (key !== undefined) checkKey(key);
  return {
    spec: {
      argv: argv(words, request.shell),
      env: environment(request.env),
      cwd: request.cwd === undefined ? undefined : folder(request.cwd),
      selector: selector(request.selector),
      timeoutMs: request.timeout === undefined ? undefined : timeout(request.timeout),
      retries: request.retries,
      retryDelayMs: request.retryDelay,
      artifacts: globs(request.artifact),
    },
    options: {
      ...(array === undefined ? {} : { array }),
      ...(key === undefined ? {} : { idempotencyKey: key }),
    },
  };
}

function argv(words: string[], shell: boolean): string[] {
  if (words.length === 0 || words[0] === "") {
    throw new UsageError("No command to run was given", {
      next: "agent submit -- CMD ARGS… (everything after -- is the command)",
    });
  }
  const all = shell ? ["/bin/sh", "-c", words.join(" ")] : words;
  if (all.some((word) => word.includes("\0"))) {
    throw new UsageError("The command contains a NUL character");
  }
  if (all.length > limits.maxArgs || bytesOf(all) > limits.maxArgvBytes) {
    throw new UsageError(
      `The command has ${all.length} words of ${bytesOf(all)} bytes, ` +
        `more than ${limits.maxArgs} words or ${limits.maxArgvBytes} bytes`,
      { next: "Put the list into a file that the command reads" },
    );
  }
  return all;
}

function environment(variables: Readonly<Record<string, string>>): Record<string, string> {
  const pairs = Object.entries(variables);
  for (const [name, value] of pairs) {
    // Names as POSIX has them (XBD 8.1), in either case; others no shell could pass on.
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      throw new UsageError(`--env "${name}=${value}": "${name}" is no name of a variable`, {
        next: "Write it as --env NAME=VALUE; letters, digits and _, no digit first",
      });
    }
    if (value.includes("\0")) throw new UsageError(`--env ${name} contains a NUL character`);
  }
  const bytes = bytesOf(pairs.flat());
  if (pairs.length > limits.maxEnvEntries || bytes > limits.maxEnvBytes) {
    throw new UsageError(
      `--env sets ${pairs.length} variables of ${bytes} bytes, ` +
        `more than ${limits.maxEnvEntries} or ${limits.maxEnvBytes} bytes`,
    );
  }
  return { ...variables };
}

function selector(labels: Readonly<Record<string, string>>): Record<string, string> {
  const pairs = Object.entries(labels);
  for (const [name, value] of pairs) {
    if (parseLabel(`${name}=${value}`) === undefined) {
      throw new UsageError(`--selector "${name}=${value}" is no label`, {
        next: `Write it as --selector key=value: letters, digits, ".", "_", "-", at most ` +
          `${limits.maxLabelLength} each`,
      });
    }
  }
  if (pairs.length > limits.maxLabels) {
    throw new UsageError(
      `--selector is given ${pairs.length} times, more than ${limits.maxLabels}`,
    );
  }
  return { ...labels };
}

function folder(path: string): string {
  if (!/^(\/|[A-Za-z]:[\\/])/.test(path) || path.includes("\0")) {
    throw new UsageError(`--cwd "${path}" is not an absolute path`, {
      next: "Name a folder that exists on the worker, or leave --cwd out for one of the task's own",
    });
  }
  if (path.length > limits.maxPathLength) throw new UsageError("--cwd is too long a path");
  return path;
}

function timeout(ms: number): number {
  if (ms === 0) {
    throw new UsageError("--timeout 0 would end the task before it starts", {
      next: "Leave --timeout out for a task without a limit",
    });
  }
  return ms;
}

function globs(patterns: string[]): string[] {
  for (const pattern of patterns) {
    const wrong = pattern === ""
      ? "is empty"
      : pattern.startsWith("/") || /^[A-Za-z]:/.test(pattern)
      ? "is an absolute path"
      : pattern.split("/").includes("..")
      ? 'contains ".."'
      : pattern.split("/").some((part) => part === "" || part === ".")
      ? 'has an empty or "." part'
      : pattern.includes("\\")
      ? 'contains "\\"; folders are separated by "/"'
      : /\p{Cc}/u.test(pattern)
      ? "contains a control character"
      : pattern.length > limits.maxPathLength
      ? "is too long"
      : undefined;
    if (wrong !== undefined) {
      throw new UsageError(`--artifact "${pattern}" ${wrong}`, {
        next: "Write it relative to the task's folder: --artifact 'out/*'",
      });
    }
  }
  if (patterns.length > limits.maxArtifactGlobs) {
    throw new UsageError(
      `--artifact is given ${patterns.length} times, more than ${limits.maxArtifactGlobs}`,
    );
  }
  return patterns;
}

/** `0-99`: a task for each number, both ends included. */
function parseRange(text: string): { first: number; last: number } {
  const match = /^(\d{1,9})-(\d{1,9})$/.exec(text);
  const [first, last] = [Number(match?.[1]), Number(match?.[2])];
  if (!match || first > last) {
    throw new UsageError(`--array "${text}" is no range`, {
      next: "Write it as --array 0-9, the lower number first",
    });
  }
  if (last - first + 1 > limits.maxArray) {
    throw new UsageError(`--array "${text}" is more than ${limits.maxArray} tasks`);
  }
  return { first, last };
}

function checkKey(key: string): void {
  if (key !== "" && key.length <= limits.maxIdempotencyKeyLength && !/\p{Cc}/u.test(key)) return;
  throw new UsageError(
    `--idempotency-key must be 1 to ${limits.maxIdempotencyKeyLength} characters, none of them ` +
      "a control character",
  );
}

function bytesOf(words: string[]): number {
  const encoder = new TextEncoder();
  return words.reduce((sum, word) => sum + encoder.encode(word).length + 1, 0);
}

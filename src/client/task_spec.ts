import { UsageError } from "../base/errors.ts";
import { suggestion } from "../base/suggest.ts";
import type { SubmitOptions } from "../tasks/service.ts";
import { TaskError } from "../tasks/service.ts";
import { limits } from "../tasks/limits.ts";
import type { TaskSpec } from "../tasks/task.ts";
import {
  validateArray,
  validateIdempotencyKey,
  validateLines,
  validateSpec,
} from "../tasks/validation.ts";

/** A task as JSON describes it: the body of `POST /api/tasks`, and what `submit` makes of its flags. */
export interface TaskDescription {
  argv: readonly string[];
  env?: Readonly<Record<string, string>> | undefined;
  /** Absolute folder on the worker; without it the task gets a folder of its own. */
  cwd?: string | undefined;
  selector?: Readonly<Record<string, string>> | undefined;
  timeout_ms?: number | undefined;
  retries?: number | undefined;
  retry_delay_ms?: number | undefined;
  /** How often an attempt that is lost with its worker is followed by another. */
  max_lost?: number | undefined;
  /** How long its worker may be out of touch before an attempt counts as lost; 0: for ever. */
  lost_after_ms?: number | undefined;
  /** An attempt that is lost with its worker ends the task as lost. */
  no_requeue?: boolean | undefined;
  artifacts?: readonly string[] | undefined;
  /** `0-9` or `1,3,5-9`: a task for each number; `%20` at the end: at most 20 at once. */
  array?: string | undefined;
  /** In place of `array`: a task for each line, which is its AGENT_LINE. */
  lines?: readonly string[] | undefined;
  /** What it has for itself: `{"gpu": 1}`. */
  resources?: Readonly<Record<string, number>> | undefined;
  /** Standard input, in base64. */
  stdin_base64?: string | undefined;
  /** The words of `argv` are one line for /bin/sh. */
  shell?: boolean | undefined;
  idempotency_key?: string | undefined;
}

type Field = keyof TaskDescription;

/** What each field must be, where it is given and not null. */
const types: Record<Field, [wanted: string, holds: (value: unknown) => boolean]> = {
  argv: ["a list of strings", isTexts],
  env: ["an object of strings", isRecord],
  cwd: ["a string", isText],
  selector: ["an object of strings", isRecord],
  timeout_ms: ["a number", isNumber],
  retries: ["a number", isNumber],
  retry_delay_ms: ["a number", isNumber],
  max_lost: ["a number", isNumber],
  lost_after_ms: ["a number", isNumber],
  no_requeue: ["true or false", isFlag],
  artifacts: ["a list of strings", isTexts],
  array: ["a string", isText],
  lines: ["a list of strings", isTexts],
  resources: ["an object of numbers", isNumbers],
  stdin_base64: ["a string of base64", isBase64],
  shell: ["true or false", isFlag],
  idempotency_key: ["a string", isText],
};

/**
 * Checks the shape of a description that came as JSON; `taskSpec` checks the rest.
 *
 * @throws {UsageError} for the first field that is wrong or unknown.
 */
export function readTaskDescription(json: unknown): TaskDescription {
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw new UsageError('A task is a JSON object such as {"argv": ["uname", "-a"]}');
  }
  const fields = Object.entries(json).filter(([, value]) => value !== null);
  for (const [name, value] of fields) {
    const type = Object.hasOwn(types, name) ? types[name as Field] : undefined;
    if (type === undefined) {
      throw new UsageError(`Unknown field "${name}"`, suggestion(name, Object.keys(types)));
    }
    const [wanted, holds] = type;
    if (!holds(value)) throw new UsageError(`"${name}" must be ${wanted}`);
  }
  return { argv: [], ...Object.fromEntries(fields) };
}

/**
 * Checks all of a task before anything is sent, by the coordinator's own rules.
 *
 * @param nameOf how the caller's user knows a field: `--env` on the command line.
 * @throws {UsageError} for the first thing that is wrong.
 */
export function taskSpec(
  task: TaskDescription,
  nameOf: (field: Field) => string = (field) => `"${field}"`,
): { spec: TaskSpec; options: SubmitOptions } {
  const { argv, env = {}, cwd, selector = {}, timeout_ms: timeoutMs, retries = 0 } = task;
  const { retry_delay_ms: retryDelayMs = 0, artifacts = [], idempotency_key: key } = task;
  if (argv.length === 0 || argv[0] === "") {
    throw new UsageError("No command to run was given");
  }
  if (timeoutMs === 0) {
    throw new UsageError(`${nameOf("timeout_ms")} 0 would end the task before it starts`, {
      next: `Leave ${nameOf("timeout_ms")} out for a task without a limit`,
    });
  }
  const strange = Object.keys(env).find((name) => !variableName.test(name));
  if (strange !== undefined) {
    throw new UsageError(`${nameOf("env")}: "${strange}" is not the name of a variable`, {
      next: "Use letters, digits and _, and do not begin with a digit",
    });
  }
  if (task.no_requeue && (task.max_lost ?? 0) > 0) {
    throw new UsageError(`${nameOf("no_requeue")} and ${nameOf("max_lost")} contradict each other`);
  }
  if (task.lines !== undefined && task.array !== undefined) {
    throw new UsageError(`${nameOf("lines")} and ${nameOf("array")} contradict each other`);
  }
  const { lines } = task;
  const { array, atOnce } = task.array === undefined ? {} : readArray(task.array, nameOf("array"));
  const spec: TaskSpec = {
    argv: task.shell ? ["/bin/sh", "-c", argv.join(" ")] : [...argv],
    env: { ...env },
    cwd,
    selector: { ...selector },
    timeoutMs,
    retries,
    retryDelayMs,
    artifacts: [...artifacts],
    ...(task.max_lost === undefined ? {} : { maxLost: task.max_lost }),
    ...(task.lost_after_ms === undefined ? {} : { lostAfterMs: task.lost_after_ms }),
    ...(task.no_requeue ? { noRequeue: true } : {}),
    ...(atOnce === undefined ? {} : { atOnce }),
    ...(Object.keys(task.resources ?? {}).length === 0 ? {} : { resources: { ...task.resources } }),
    ...(task.stdin_base64 === undefined ? {} : { stdin: Uint8Array.fromBase64(task.stdin_base64) }),
  };
  valid(() => {
    validateSpec(spec);
    if (array !== undefined) validateArray(array);
    if (lines !== undefined) validateLines(lines, spec);
    if (key !== undefined) validateIdempotencyKey(key);
  });
  return {
    spec,
    options: {
      ...(array === undefined ? {} : { array }),
      ...(lines === undefined ? {} : { lines }),
      ...(key === undefined ? {} : { idempotencyKey: key }),
    },
  };
}

/** As POSIX names variables (XBD 8.1), in either case; a shell could not pass on others. */
const variableName = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** `5`, `0-9`, `1,3,5-9`, `0-99%20`, as Slurm writes arrays. */
function readArray(
  text: string,
  name: string,
): { array: NonNullable<SubmitOptions["array"]>; atOnce: number | undefined } {
  const shown = text.length > 80 ? `${text.slice(0, 80)}…` : text;
  const wrong = (what: string) =>
    new UsageError(`${name} "${shown}" is not a list of numbers and ranges: ${what}`, {
      next: `Write ${name} 0-9, ${name} 1,3,5-9, or ${name} 0-99%20 for at most 20 at once`,
    });
  const [, list, limit] = /^([\d,-]+)(?:%(\d{1,5}))?$/.exec(text) ?? [];
  if (list === undefined) throw wrong("it has other characters");
  const parts = list.split(",", limits.maxArray + 1);
  if (parts.length > limits.maxArray) throw wrong(`it has more than ${limits.maxArray} elements`);
  const ranges = parts.map((part) => {
    const [, from, to = from] = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(part) ?? [];
    const [first, last] = [Number(from), Number(to)];
    if (from === undefined) throw wrong(`"${part.slice(0, 20)}" is neither`);
    if (first > last) throw wrong(`in "${part}" the higher number comes first`);
    return { first, last };
  }).toSorted((a, b) => a.first - b.first);
  const twice = ranges.find((range, at) => at > 0 && range.first <= ranges[at - 1]!.last);
  if (twice !== undefined) throw wrong(`it has ${twice.first} twice`);
  const [first, ...more] = ranges as [typeof ranges[number], ...typeof ranges];
  return {
    array: { ...first, ...(more.length === 0 ? {} : { more }) },
    atOnce: limit === undefined ? undefined : Number(limit),
  };
}

/** What the coordinator would answer is wrong usage here. */
function valid(check: () => void): void {
  try {
    check();
  } catch (error) {
    if (!(error instanceof TaskError)) throw error;
    throw new UsageError(error.message, { cause: error });
  }
}

function isNumbers(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value) &&
    Object.values(value).every(isNumber);
}

function isBase64(value: unknown): boolean {
  return typeof value === "string" && /^[A-Za-z0-9+/]*={0,2}$/.test(value) &&
    value.length % 4 === 0;
}

function isFlag(value: unknown): boolean {
  return typeof value === "boolean";
}

function isText(value: unknown): boolean {
  return typeof value === "string";
}

function isNumber(value: unknown): boolean {
  return typeof value === "number";
}

function isTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every(isText);
}

function isRecord(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value) &&
    Object.values(value).every(isText);
}

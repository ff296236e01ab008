import { limits } from "./limits.ts";
import {
  isLabelName,
  isLabelValue,
  isWorkerId,
  labelNameSyntax,
  labelValueSyntax,
  workerIdSyntax,
} from "./names.ts";
import {
  isResourceName,
  maxOfResource,
  maxResources,
  type Resources,
  resourceSyntax,
} from "./resources.ts";
import { ownLabels } from "./selectors.ts";
import { type SubmitOptions, TaskError, type WorkerHello } from "./service.ts";
import type { AttemptRef, AttemptResult, Labels, TaskSpec } from "./task.ts";

/**
 * Bounds and shapes of everything that comes from outside, whatever the wire. All throw a `TaskError`
 * with the code `invalid` that names the field.
 */
function invalid(message: string): never {
  throw new TaskError("invalid", message);
}

const encoder = new TextEncoder();

/** Bytes of UTF-8. */
function bytes(text: string): number {
  return encoder.encode(text).length;
}

function checkText(text: string, what: string, most: number): void {
  if (text.includes("\0")) invalid(`${what} contains a zero character`);
  if (!text.isWellFormed()) invalid(`${what} is not valid Unicode`);
  // No UTF-16 unit takes more than 3 bytes: long texts only are counted.
  if (text.length * 3 > most && bytes(text) > most) {
    invalid(`${what} is longer than ${most} bytes`);
  }
}

/** Text that people see, or that names something: one line. */
function checkLine(text: string, what: string, most: number): void {
  checkText(text, what, most);
  if (/\p{Cc}/u.test(text)) invalid(`${what} contains a control character`);
}

function checkInteger(value: number, what: string, least: number, most: number): void {
  if (!Number.isSafeInteger(value) || value < least || value > most) {
    invalid(`${what} is ${value}, and has to be a whole number from ${least} to ${most}`);
  }
}

/** 100 years, as for every duration. */
const longestMs = 100 * 365 * 86_400_000;

export function validateSpec(spec: TaskSpec): void {
  if (spec.argv.length === 0 || spec.argv[0] === "") invalid("The command is missing");
  if (spec.argv.length > limits.maxArgs) {
    invalid(`The command has more than ${limits.maxArgs} arguments`);
  }
  let total = 0;
  for (const arg of spec.argv) {
    checkText(arg, "An argument", limits.maxArgvBytes);
    total += arg.length * 3 > 1_000 ? bytes(arg) : arg.length * 3;
  }
  // Count the maximum for short arguments; count exactly only if that is too much.
  if (total > limits.maxArgvBytes) {
    const exact = spec.argv.reduce((sum, arg) => sum + bytes(arg), 0);
    if (exact > limits.maxArgvBytes) {
      invalid(`The command is longer than ${limits.maxArgvBytes} bytes`);
    }
  }
  checkEnvironment(spec.env);
  if (spec.cwd !== undefined) {
    checkLine(spec.cwd, "The working folder", limits.maxPathLength);
    // A relative path would mean another folder on each worker.
    if (!/^(\/|[A-Za-z]:[\\/])/.test(spec.cwd)) invalid("The working folder is no absolute path");
  }
  const { [ownLabels.worker]: worker, ...labels } = spec.selector;
  if (worker !== undefined) validateWorkerId(worker);
  validateLabels(labels, "selector");
  if (spec.timeoutMs !== undefined) checkInteger(spec.timeoutMs, "The timeout", 1, longestMs);
  checkInteger(spec.retries, "The number of retries", 0, limits.maxRetries);
  checkInteger(spec.retryDelayMs, "The retry delay", 0, longestMs);
  if (spec.artifacts.length > limits.maxArtifactGlobs) {
    invalid(`There are more than ${limits.maxArtifactGlobs} artifact patterns`);
  }
  for (const glob of spec.artifacts) validateRelativePath(glob, "artifact pattern");
  if (spec.maxLost !== undefined) {
    checkInteger(spec.maxLost, "The number of lost attempts", 0, limits.maxRetries);
  }
  if (spec.lostAfterMs !== undefined && spec.lostAfterMs !== 0) {
    const { minLostAfterMs, maxTaskLostAfterMs } = limits;
    checkInteger(
      spec.lostAfterMs,
      "The time until a task is lost",
      minLostAfterMs,
      maxTaskLostAfterMs,
    );
  }
  validateResources(spec.resources ?? {});
  if ((spec.stdin?.length ?? 0) > limits.maxStdinBytes) {
    invalid(`Standard input is longer than ${limits.maxStdinBytes} bytes`);
  }
  if (spec.atOnce !== undefined) {
    checkInteger(spec.atOnce, "The number of elements at once", 1, limits.maxArray);
  }
}

function checkEnvironment(env: Record<string, string>): void {
  const entries = Object.entries(env);
  if (entries.length > limits.maxEnvEntries) {
    invalid(`There are more than ${limits.maxEnvEntries} environment variables`);
  }
  let total = 0;
  for (const [name, value] of entries) {
    // Shells export functions under names with other characters, and run them (bash(1)).
    if (!/^[A-Za-z_][A-Za-z0-9_.-]*$/.test(name)) {
      invalid(`"${name.slice(0, 100)}" is not a name of an environment variable`);
    }
    checkLine(name, "The name of an environment variable", limits.maxEnvBytes);
    checkText(value, `The environment variable "${name.slice(0, 100)}"`, limits.maxEnvBytes);
    total += bytes(name) + bytes(value) + 2;
  }
  if (total > limits.maxEnvBytes) {
    invalid(`The environment is longer than ${limits.maxEnvBytes} bytes`);
  }
}

export function validateLabels(labels: Labels, what: string): void {
  const entries = Object.entries(labels);
  if (entries.length > limits.maxLabels) {
    invalid(`The ${what} has more than ${limits.maxLabels} labels`);
  }
  for (const [name, value] of entries) {
    if (!isLabelName(name)) {
      invalid(
        `"${name.slice(0, 100)}" in the ${what} is not a label name: ${labelNameSyntax}`,
      );
    }
    if (!isLabelValue(value)) {
      invalid(
        `"${value.slice(0, 100)}" in the ${what} is not a label value: ${labelValueSyntax}`,
      );
    }
  }
}

function validateResources(resources: Resources): void {
  const entries = Object.entries(resources);
  if (entries.length > maxResources) invalid(`There are more than ${maxResources} resources`);
  for (const [name, count] of entries) {
    if (!isResourceName(name)) invalid(`"${name.slice(0, 100)}" is not ${resourceSyntax}`);
    checkInteger(count, `The resource ${name}`, 0, maxOfResource);
  }
}

/** A path or glob below a folder, with forward slashes: not absolute, and without `..`. */
export function validateRelativePath(path: string, what: string): void {
  const shown = JSON.stringify(path.slice(0, 200));
  if (path === "") invalid(`An ${what} is empty`);
  checkLine(path, `The ${what} ${shown}`, limits.maxPathLength);
  if (path.startsWith("/") || /^[A-Za-z]:/.test(path) || path.includes("\\")) {
    invalid(`The ${what} ${shown} is not relative to the task's folder, with forward slashes`);
  }
  for (const part of path.split("/")) {
    if (part === "" || part === "." || part === "..") {
      invalid(`The ${what} ${shown} has an empty, "." or ".." part`);
    }
    // NAME_MAX of Linux.
    if (bytes(part) > 255) invalid(`The ${what} ${shown} has a part longer than 255 bytes`);
  }
}

export function validateWorkerId(id: string): void {
  if (!isWorkerId(id)) invalid(`"${id.slice(0, 100)}" is not a worker id: ${workerIdSyntax}`);
}

export function validateHello(hello: WorkerHello): void {
  validateWorkerId(hello.workerId);
  for (const [what, id] of [["instance", hello.instance], ["home", hello.home]] as const) {
    if (id === undefined || /^[A-Za-z0-9._-]{8,64}$/.test(id)) continue;
    invalid(`The worker's ${what} is not made of 8 to 64 letters, digits, ".", "_" and "-"`);
  }
  checkLine(hello.version, "The worker's version", limits.maxLabelLength);
  validateLabels(hello.labels, "list of the worker's labels");
  checkInteger(hello.slots, "The number of slots", 1, limits.maxSlots);
  validateResources(hello.resources ?? {});
  if (hello.held.length > limits.maxHeld) {
    invalid(`The worker holds more than ${limits.maxHeld} attempts`);
  }
  if (hello.warnings.length > limits.maxWarnings) {
    invalid(`The worker has more than ${limits.maxWarnings} warnings`);
  }
  for (const warning of hello.warnings) {
    checkLine(warning, "A warning of the worker", 3 * limits.maxReasonLength);
  }
}

/** Why a worker cannot start tasks, or could not start an attempt. */
export function validateTrouble(text: string): void {
  checkLine(text, "The trouble of the worker", 3 * limits.maxReasonLength);
}

/** A reference to an attempt from another program: files are named after it. */
export function validateRef({ taskId, attempt, fence }: AttemptRef): void {
  if (!/^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$/.test(taskId)) {
    invalid(`"${taskId.slice(0, 100)}" is not a task id`);
  }
  checkInteger(attempt, "The attempt", 1, 2 ** 31);
  checkInteger(fence, "The fence", 0, Number.MAX_SAFE_INTEGER);
}

/** The largest offset: a double holds it exactly. */
const mostBytes = Number.MAX_SAFE_INTEGER;

export function validateResult(result: AttemptResult): void {
  const { exitCode, startedAt, reason } = result;
  if (reason !== undefined) checkLine(reason, "The reason", 3 * limits.maxReasonLength);
  checkInteger(result.stdoutBytes, "The length of stdout", 0, mostBytes);
  checkInteger(result.stderrBytes, "The length of stderr", 0, mostBytes);
  checkInteger(result.finishedAt, "The time of the end", 0, 8.64e15);
  if (startedAt !== undefined) checkInteger(startedAt, "The time of the start", 0, 8.64e15);
  // Windows has exit codes of 32 bits.
  if (exitCode !== undefined) checkInteger(exitCode, "The exit code", -(2 ** 31), 2 ** 32 - 1);
  if (result.signal !== undefined && !/^[A-Z0-9+-]{1,20}$/.test(result.signal)) {
    invalid("The signal's name is malformed");
  }
  const { output } = result;
  if (output === undefined) return;
  const { stdout, stderr } = output;
  if (stdout.length !== result.stdoutBytes || stderr.length !== result.stderrBytes) {
    invalid("The output of the result is not as long as it says");
  }
  if (stdout.length + stderr.length > limits.maxInlineBytes) {
    invalid(`The output of the result is longer than ${limits.maxInlineBytes} bytes`);
  }
}

export function validateStateNamespace(namespace: string): void {
  if (namespace === "") invalid("The namespace is empty");
  refuseStep(namespace, "The namespace");
  checkLine(namespace, "The namespace", limits.maxStateNamespaceLength);
}

export function validateStateKey(key: string): void {
  if (key === "") invalid("The key is empty");
  refuseStep(key, "The key");
  checkLine(key, "The key", limits.maxStateKeyLength);
}

/** In the path of a URL these are steps, however they are written (RFC 3986, section 5.2.4). */
function refuseStep(name: string, what: string): void {
  if (name === "." || name === "..") invalid(`${what} is "${name}", which no URL can name`);
}

export function validateStateValue(value: Uint8Array): void {
  if (value.length > limits.maxStateValueBytes) {
    invalid(`The value is longer than ${limits.maxStateValueBytes} bytes`);
  }
}

export function validateIdempotencyKey(key: string): void {
  if (key === "") invalid("The idempotency key is empty");
  checkLine(key, "The idempotency key", limits.maxIdempotencyKeyLength);
}

/** Each element has a copy of the task, with its own line. */
export function validateLines(lines: readonly string[], spec: TaskSpec): void {
  if (lines.length === 0) invalid("There are no lines");
  if (lines.length > limits.maxArray) invalid(`There are more than ${limits.maxArray} lines`);
  let total = 0;
  for (const line of lines) {
    checkText(line, "A line", limits.maxLinesBytes);
    total += bytes(line);
  }
  if (total > limits.maxLinesBytes) {
    invalid(`The lines are longer than ${limits.maxLinesBytes} bytes together`);
  }
  const texts = [...spec.argv, ...Object.entries(spec.env).flat()];
  const size = texts.reduce((sum, text) => sum + bytes(text), spec.stdin?.length ?? 0);
  if (size > limits.maxLineSpecBytes) {
    invalid(
      `A task for each line has more than ${limits.maxLineSpecBytes} bytes of command, ` +
        "environment and input",
    );
  }
}

/** @returns the number of elements. */
export function validateArray(array: NonNullable<SubmitOptions["array"]>): number {
  const { first, last, more = [] } = array;
  let count = 0;
  let end = -1;
  for (const range of [{ first, last }, ...more]) {
    checkInteger(range.first, "The first index of the array", 0, 2 ** 31 - 1);
    checkInteger(range.last, "The last index of the array", 0, 2 ** 31 - 1);
    const length = range.last - range.first + 1;
    if (length < 1) invalid(`The array ends at ${range.last}, before it begins at ${range.first}`);
    if (range.first <= end) invalid(`The array's index ${range.first} does not follow ${end}`);
    end = range.last;
    count += length;
    if (count > limits.maxArray) invalid(`The array has more than ${limits.maxArray} elements`);
  }
  return count;
}

import { limits } from "../tasks/limits.ts";
import { TaskError } from "../tasks/service.ts";
import type { Artifact, AttemptRef, Labels, TaskSpec } from "../tasks/task.ts";

/**
 * Bounds of everything that a peer sends, so that nothing behind the wire meets a value that it
 * was not made for. Each check returns what it was given, or throws `TaskError` "invalid".
 */

function refuse(message: string): never {
  throw new TaskError("invalid", message);
}

const controlCharacter = /\p{Cc}/u;
const name = /^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/;
/** As Kubernetes writes them, so that its labels can be passed on. */
const labelKey = /^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$/;
const labelValue = /^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$/;

/** Ids of tasks and arrays are made by the coordinator and far shorter. */
const maxIdLength = 64;

export function checkId(what: string, value: string, maxLength = maxIdLength): string {
  if (value.length > maxLength || !name.test(value)) {
    refuse(`${what} must be 1 to ${maxLength} letters, digits, ".", "_" or "-"`);
  }
  return value;
}

/** Text for people: one line, bounded. */
export function checkText(what: string, value: string, maxLength: number): string {
  if (value.length > maxLength) refuse(`${what} is longer than ${maxLength} characters`);
  if (controlCharacter.test(value)) refuse(`${what} contains a control character`);
  return value;
}

/** Text that a program reads: any characters but the one that ends a C string. */
function checkArgument(what: string, value: string): number {
  if (value.includes("\0")) refuse(`${what} contains a zero byte`);
  return byteLength(value);
}

export function checkCount(what: string, value: number, max: number, min = 0): number {
  if (!Number.isSafeInteger(value) || value < min || value > max) {
    refuse(`${what} must be from ${min} to ${max}`);
  }
  return value;
}

export function checkRef(ref: AttemptRef): AttemptRef {
  checkId("Task id", ref.taskId);
  checkCount("Attempt", ref.attempt, 2 ** 31, 1);
  checkCount("Fence", ref.fence, Number.MAX_SAFE_INTEGER);
  return ref;
}

export function checkLabels(what: string, labels: Labels): Labels {
  const pairs = Object.entries(labels);
  if (pairs.length > limits.maxLabels) refuse(`More than ${limits.maxLabels} ${what}s`);
  for (const [key, value] of pairs) {
    if (key.length > limits.maxLabelLength || !labelKey.test(key)) {
      refuse(`A ${what}'s key must be 1 to ${limits.maxLabelLength} letters, digits, "._/-"`);
    }
    if (value.length > limits.maxLabelLength || !labelValue.test(value)) {
      refuse(`A ${what}'s value must be up to ${limits.maxLabelLength} letters, digits, "._-"`);
    }
  }
  return labels;
}

/**
 * A path below a task's folder: relative, with forward slashes, and no part that leads elsewhere on
 * any system (a backslash and a colon do on Windows).
 */
export function checkRelativePath(what: string, path: string): string {
  if (path === "" || byteLength(path) > limits.maxPathLength) {
    refuse(`${what} must be 1 to ${limits.maxPathLength} bytes long`);
  }
  if (controlCharacter.test(path)) refuse(`${what} contains a control character`);
  if (path.includes("\\")) refuse(`${what} contains a backslash; parts are separated by "/"`);
  if (/^[A-Za-z]:/.test(path) || path.startsWith("/")) refuse(`${what} must be relative`);
  if (path.split("/").some((part) => part === "" || part === "." || part === "..")) {
    refuse(`${what} has an empty part, "." or ".." in it`);
  }
  return path;
}

/** A glob below a task's folder; `\` would quote in some globs and separate in others. */
function checkGlob(glob: string): void {
  checkRelativePath("Artifact pattern", glob.replace(/^\.\//, "").replace(/\/$/, ""));
}

export function checkSpec(spec: TaskSpec): TaskSpec {
  checkCount("Number of arguments", spec.argv.length, limits.maxArgs, 1);
  if (spec.argv[0] === "") refuse("The program's name is empty");
  const argvBytes = spec.argv.reduce((sum, arg) => sum + checkArgument("An argument", arg), 0);
  if (argvBytes > limits.maxArgvBytes) {
    refuse(`The arguments are longer than ${limits.maxArgvBytes} bytes together`);
  }
  checkEnv(spec.env);
  if (spec.cwd !== undefined) checkFolder(spec.cwd);
  checkLabels("selector", spec.selector);
  checkCount("Timeout", spec.timeoutMs ?? 0, longestMs);
  checkCount("Number of retries", spec.retries, limits.maxRetries);
  checkCount("Retry delay", spec.retryDelayMs, longestMs);
  checkCount("Number of artifact patterns", spec.artifacts.length, limits.maxArtifactGlobs);
  spec.artifacts.forEach(checkGlob);
  return spec;
}

/** 100 years, as the longest duration that the command line takes. */
const longestMs = 100 * 365 * 86_400_000;

function checkEnv(env: Readonly<Record<string, string>>): void {
  const pairs = Object.entries(env);
  checkCount("Number of environment variables", pairs.length, limits.maxEnvEntries);
  let bytes = 0;
  for (const [key, value] of pairs) {
    if (key === "" || key.includes("=") || controlCharacter.test(key)) {
      refuse('The name of an environment variable is empty, or has "=" or a control character');
    }
    bytes += byteLength(key) + checkArgument("An environment variable", value);
  }
  if (bytes > limits.maxEnvBytes) {
    refuse(`The environment is longer than ${limits.maxEnvBytes} bytes`);
  }
}

function checkFolder(path: string): void {
  if (byteLength(path) > limits.maxPathLength || controlCharacter.test(path)) {
    refuse("The working folder is too long or contains a control character");
  }
  // Relative to what would differ with each worker.
  if (!path.startsWith("/") && !/^[A-Za-z]:[\\/]/.test(path)) {
    refuse("The working folder must be an absolute path");
  }
}

export function checkArtifactFile<F extends Pick<Artifact, "path" | "size" | "mode">>(file: F): F {
  checkRelativePath("Artifact path", file.path);
  checkCount("Artifact size", file.size, Number.MAX_SAFE_INTEGER);
  checkCount("Artifact mode", file.mode, 0o777);
  return file;
}

export function checkSha256(value: string): string {
  if (!/^[0-9a-f]{64}$/.test(value)) refuse("A checksum must be 64 lower-case hex digits");
  return value;
}

export function checkChunk(data: Uint8Array): Uint8Array {
  if (data.length > limits.maxChunkBytes) {
    refuse(`A chunk is longer than ${limits.maxChunkBytes} bytes`);
  }
  return data;
}

export function checkStateKey(namespace: string, key: string): void {
  checkNamespace(namespace);
  if (key === "") refuse("A state key is empty");
  checkText("State key", key, limits.maxStateKeyLength);
}

export function checkNamespace(namespace: string): void {
  if (namespace === "") refuse("A state namespace is empty");
  checkText("State namespace", namespace, limits.maxStateNamespaceLength);
}

function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}

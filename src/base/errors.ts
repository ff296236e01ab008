/** Exit codes of every command that does not follow a task. */
export const exitCode = {
  done: 0,
  failed: 1,
  /** Wrong usage or configuration. */
  usage: 2,
  /** A check found something, or a safety refusal that names what overrides it. */
  attention: 3,
  /** 128 and the number of the signal: SIGHUP, SIGINT, SIGTERM. */
  hungUp: 129,
  interrupted: 130,
  terminated: 143,
} as const;

export interface UserErrorOptions {
  /** A command to paste, or one sentence. */
  next?: string;
  cause?: unknown;
  /** 1 unless told otherwise. */
  exit?: number;
  /** A stable word for programs, in snake_case. */
  code?: string;
}

/**
 * An error that a person can act on. The message says what was attempted, on what, what was found
 * and what is wanted: capital first, no full stop, values quoted.
 */
export class UserError extends Error {
  override name = "UserError";
  readonly next: string | undefined;
  readonly exit: number;
  readonly code: string;

  constructor(message: string, options: UserErrorOptions = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.next = options.next;
    this.exit = options.exit ?? exitCode.failed;
    this.code = options.code ?? "failed";
  }
}

/** Wrong usage or configuration: exit code 2. */
export class UsageError extends UserError {
  override name = "UsageError";
  constructor(message: string, options: Omit<UserErrorOptions, "exit"> = {}) {
    super(message, { code: "usage", ...options, exit: exitCode.usage });
  }
}

/** A safety refusal: exit code 3. `next` names what overrides it. */
export class Refusal extends UserError {
  override name = "Refusal";
  constructor(message: string, options: Omit<UserErrorOptions, "exit"> & { next: string }) {
    super(message, { code: "refused", ...options, exit: exitCode.attention });
  }
}

/** What can cross a thread boundary of a `UserError`; `structuredClone` would keep only its text. */
export interface ErrorFacts {
  message: string;
  next?: string;
  exit: number;
  code: string;
  stack?: string;
}

/** The facts of anything that was thrown; what is not a `UserError` is a defect of ours, exit 1. */
export function errorFacts(thrown: unknown): ErrorFacts {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  const stack = stackOf(error);
  if (error instanceof UserError) {
    const { message, next, exit, code } = error;
    return { message, exit, code, ...(next === undefined ? {} : { next }), ...stack };
  }
  return { message: error.message, exit: exitCode.failed, code: "internal", ...stack };
}

/** What was thrown, in its own words. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

function stackOf(error: Error): { stack?: string } {
  if (error.stack === undefined) return {};
  const cause = error.cause instanceof Error ? `\nCaused by: ${error.cause.stack}` : "";
  return { stack: error.stack + cause };
}

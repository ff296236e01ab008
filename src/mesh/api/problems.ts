/** One table from the errors of the program to HTTP. */
import { UsageError, UserError } from "../../base/errors.ts";
import { HttpProblem } from "../../http/problem.ts";
import { TaskError, type TaskErrorCode } from "../../tasks/service.ts";

const statusOf: Record<TaskErrorCode, number> = {
  invalid: 400,
  not_found: 404,
  already_exists: 409,
  wrong_state: 409,
  conflict: 409,
  exhausted: 429,
  unavailable: 503,
  // The node's own certificate, not the caller's.
  unauthenticated: 502,
  // A limit of the node's own role at the coordinator.
  forbidden: 502,
  // The coordinator's version.
  unsupported: 502,
  internal: 500,
};

/** @returns undefined for what is a defect of ours. */
export function problemOf(error: unknown): HttpProblem | undefined {
  if (error instanceof HttpProblem) return error;
  if (error instanceof TaskError) {
    const { code, message, next, revision } = error;
    const members = { code, ...(revision === undefined ? {} : { revision }) };
    return new HttpProblem(statusOf[code], message, { next, members, cause: error });
  }
  if (error instanceof UsageError) {
    return new HttpProblem(400, error.message, { next: error.next, cause: error });
  }
  if (error instanceof UserError && error.code === "no_match") {
    return new HttpProblem(409, error.message, { next: error.next, cause: error });
  }
  if (error instanceof UserError) {
    return new HttpProblem(500, error.message, { next: error.next, cause: error });
  }
  return undefined;
}

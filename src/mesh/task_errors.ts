import { TaskError, type TaskErrorCode, taskErrorCodes } from "../tasks/service.ts";
import { NodeRefusal } from "./node_client.ts";

/** The error of the coordinator as the node passed it on, or what went wrong on the way to the node. */
export function taskError(error: unknown): unknown {
  if (!(error instanceof NodeRefusal)) return error;
  const { message, status, members, next } = error;
  const code = taskErrorCodes.find((code) => code === members.code) ?? codeOf(status);
  const revision = typeof members.revision === "number" ? members.revision : undefined;
  return new TaskError(code, message, revision, {
    cause: error,
    ...(next === undefined ? {} : { next }),
  });
}

/** Whether a node that is older than the route refused it; what a coordinator refuses has a code. */
export function isUnknownRoute(error: unknown): error is NodeRefusal {
  return error instanceof NodeRefusal && error.members.code === undefined &&
    [404, 405, 501].includes(error.status ?? 0);
}

function codeOf(status: number | undefined): TaskErrorCode {
  if (status === undefined || status >= 502) return "unavailable";
  if (status === 401) return "unauthenticated";
  if (status === 404) return "not_found";
  return status >= 500 ? "internal" : "invalid";
}

import { TaskError, type TaskErrorCode } from "../tasks/service.ts";
import { statusCodes } from "./codes.ts";

/** The one table between the codes of the task service and those of gRPC. */
const statusOf: Record<TaskErrorCode, number> = {
  invalid: statusCodes.invalidArgument,
  not_found: statusCodes.notFound,
  already_exists: statusCodes.alreadyExists,
  wrong_state: statusCodes.failedPrecondition,
  conflict: statusCodes.aborted,
  exhausted: statusCodes.resourceExhausted,
  unavailable: statusCodes.unavailable,
  unauthenticated: statusCodes.unauthenticated,
  forbidden: statusCodes.permissionDenied,
  unsupported: statusCodes.unimplemented,
  internal: statusCodes.internal,
};

const codeOf = new Map<number, TaskErrorCode>([
  // Statuses that gRPC itself gives, or a proxy between.
  [statusCodes.cancelled, "unavailable"],
  [statusCodes.deadlineExceeded, "unavailable"],
  [statusCodes.outOfRange, "invalid"],
  ...Object.entries(statusOf).map(([code, key]) => [key, code as TaskErrorCode] as const),
]);

/** Marks an error that the coordinator meant, apart from those of the connection. */
const codeTrailer = "agent-code";
const revisionTrailer = "agent-revision";

/** How a call ended: gRPC's status, and the trailers beside it. */
export interface CallStatus {
  code: number;
  details: string;
  trailers: Record<string, string>;
}

/** What goes over the wire for an error of the task service. */
export function toStatus(error: TaskError): CallStatus {
  return {
    code: statusOf[error.code],
    details: error.message,
    trailers: {
      [codeTrailer]: error.code,
      ...(error.revision === undefined ? {} : { [revisionTrailer]: String(error.revision) }),
    },
  };
}

/** Whether the coordinator itself answered so, rather than the connection or gRPC. */
export function isMeant({ trailers }: CallStatus): boolean {
  return trailers[codeTrailer] !== undefined;
}

export function fromStatus(status: CallStatus): TaskError {
  const { code, details, trailers } = status;
  const revision = trailers[revisionTrailer];
  const message = code === statusCodes.unimplemented && !isMeant(status)
    ? `The coordinator does not know this call; its version may be another (${details})`
    : details;
  return new TaskError(
    codeOf.get(code) ?? "internal",
    message,
    revision === undefined ? undefined : Number(revision),
  );
}

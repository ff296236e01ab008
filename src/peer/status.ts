import { Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { TaskError, type TaskErrorCode } from "../tasks/service.ts";

/** The one table between the codes of the task service and those of gRPC. */
const statusOf: Record<TaskErrorCode, status> = {
  invalid: status.INVALID_ARGUMENT,
  not_found: status.NOT_FOUND,
  already_exists: status.ALREADY_EXISTS,
  wrong_state: status.FAILED_PRECONDITION,
  conflict: status.ABORTED,
  exhausted: status.RESOURCE_EXHAUSTED,
  unavailable: status.UNAVAILABLE,
  unauthenticated: status.UNAUTHENTICATED,
  forbidden: status.PERMISSION_DENIED,
  internal: status.INTERNAL,
};

/** Statuses that gRPC itself gives, or a proxy between. */
const foreign: Partial<Record<status, TaskErrorCode>> = {
  [status.CANCELLED]: "unavailable",
  [status.DEADLINE_EXCEEDED]: "unavailable",
  [status.OUT_OF_RANGE]: "invalid",
};

const codeOf = new Map<status, TaskErrorCode>([
  ...Object.entries(foreign).map(([key, code]) => [Number(key), code] as const),
  ...Object.entries(statusOf).map(([code, key]) => [key, code as TaskErrorCode] as const),
]);

/** Marks an error that the coordinator meant, apart from those of the connection. */
const codeTrailer = "agent-code";
const revisionTrailer = "agent-revision";

/** What goes over the wire for an error of the task service. */
export function toStatus(error: TaskError): Pick<ServiceError, "code" | "details" | "metadata"> {
  const metadata = new Metadata();
  metadata.set(codeTrailer, error.code);
  if (error.revision !== undefined) metadata.set(revisionTrailer, String(error.revision));
  return { code: statusOf[error.code], details: error.message, metadata };
}

/** Whether the coordinator itself answered so, rather than the connection or gRPC. */
export function isMeant(error: ServiceError): boolean {
  return (error.metadata?.get(codeTrailer).length ?? 0) > 0;
}

export function fromStatus(error: ServiceError): TaskError {
  const code = codeOf.get(error.code) ?? "internal";
  const revision = error.metadata?.get(revisionTrailer)[0];
  const message = error.code === status.UNIMPLEMENTED
    ? `The coordinator does not know this call; its version may be another (${error.details})`
    : error.details;
  return new TaskError(code, message, revision === undefined ? undefined : Number(revision), {
    cause: error,
  });
}

import type { CertificateRole } from "../../pki/x509/roles.ts";
import { TaskError } from "../../tasks/service.ts";

/**
 * Which roles in certificates may call which method. A certificate without a role may call everything,
 * and so may a caller without a certificate if none is requested. No role may call a method that is
 * missing here.
 *
 * Coordinators and nodes are clients too: a node serves tasks to browsers, and client commands on the
 * coordinator's host use the coordinator's certificate.
 */
const clients: readonly CertificateRole[] = ["client", "node", "coordinator"];
const workers: readonly CertificateRole[] = ["worker"];
const everyone: readonly CertificateRole[] = ["client", "node", "coordinator", "worker"];

export const rolesByMethod: Readonly<Record<string, readonly CertificateRole[]>> = {
  "/agent.v1.WorkerService/Session": workers,
  "/agent.v1.WorkerService/UploadLog": workers,
  "/agent.v1.WorkerService/StoreArtifacts": workers,
  "/agent.v1.WorkerService/UploadArtifact": workers,

  "/agent.v1.TaskService/Submit": clients,
  "/agent.v1.TaskService/GetTask": clients,
  "/agent.v1.TaskService/ListTasks": clients,
  "/agent.v1.TaskService/WatchTasks": clients,
  "/agent.v1.TaskService/CancelTask": clients,
  "/agent.v1.TaskService/RetryTask": clients,
  "/agent.v1.TaskService/DeleteTask": clients,
  "/agent.v1.TaskService/PruneTasks": clients,
  "/agent.v1.TaskService/ReadLog": clients,
  "/agent.v1.TaskService/FollowTasks": clients,
  "/agent.v1.TaskService/ListArtifacts": clients,
  "/agent.v1.TaskService/ReadArtifact": clients,
  "/agent.v1.TaskService/GetArtifacts": clients,

  "/agent.v1.FleetService/ListWorkers": clients,
  "/agent.v1.FleetService/DrainWorker": clients,
  "/agent.v1.FleetService/ResumeWorker": clients,
  "/agent.v1.FleetService/ForgetWorker": clients,

  "/agent.v1.StateService/GetState": clients,
  "/agent.v1.StateService/PutState": clients,
  "/agent.v1.StateService/DeleteState": clients,
  "/agent.v1.StateService/ListState": clients,
  "/agent.v1.StateService/WatchState": clients,

  "/grpc.health.v1.Health/Check": everyone,
  "/grpc.health.v1.Health/Watch": everyone,
  "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": everyone,
  "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": everyone,
};

/**
 * @param role of the caller's certificate; "unknown" may do nothing.
 * @throws {TaskError} `forbidden` if the role may not call the method.
 */
export function checkAccess(method: string, role: CertificateRole | "unknown" | undefined): void {
  if (role === undefined) return;
  if (role !== "unknown" && rolesByMethod[method]?.includes(role)) return;
  const name = method.slice(method.lastIndexOf("/") + 1);
  const wanted = (rolesByMethod[method] ?? []).join(", ");
  throw new TaskError(
    "forbidden",
    role === "unknown"
      ? `The caller's certificate has a role that this version does not know; it may not call ${name}`
      : `The caller's certificate has the role "${role}", which may not call ${name} (${wanted})`,
    undefined,
    { next: "Use a certificate with another role: agent tls mint --role" },
  );
}

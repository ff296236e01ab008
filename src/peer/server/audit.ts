import type { Log } from "../../base/log.ts";
import type { Caller } from "./caller.ts";

/**
 * Calls that change something, with the field of the request that names it. Submits are not logged: there
 * may be thousands a second, and each task keeps its submitter.
 */
const changes: Readonly<Record<string, string>> = {
  "/agent.v1.TaskService/CancelTask": "id",
  "/agent.v1.TaskService/RetryTask": "id",
  "/agent.v1.TaskService/DeleteTask": "id",
  "/agent.v1.TaskService/PruneTasks": "olderThanMs",
  "/agent.v1.FleetService/DrainWorker": "workerId",
  "/agent.v1.FleetService/ResumeWorker": "workerId",
  "/agent.v1.FleetService/ForgetWorker": "workerId",
  "/agent.v1.StateService/PutState": "key",
  "/agent.v1.StateService/DeleteState": "key",
};

/** Longer values are cut: the log is for people. */
const maxLetters = 200;

/** Logs the caller of a change before it is made. */
export function audit(log: Log, path: string, caller: Caller, request: unknown): void {
  const field = changes[path];
  if (field === undefined || typeof request !== "object" || request === null) return;
  const { namespace, [field]: what } = request as Record<string, unknown>;
  log.info("change asked for", {
    call: path.slice(path.lastIndexOf("/") + 1),
    what: String(what).slice(0, maxLetters),
    ...(typeof namespace === "string" ? { namespace: namespace.slice(0, maxLetters) } : {}),
    ...(caller.certificate === undefined ? {} : {
      caller: caller.certificate.identity.name,
      fingerprint: caller.certificate.identity.fingerprint,
    }),
    address: caller.address,
  });
}

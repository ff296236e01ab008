import type {
  sendUnaryData,
  ServerDuplexStream,
  ServerUnaryCall,
  ServiceDefinition,
  UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { connectionHeader, connectionOf } from "../../deno/http2_sessions.ts";
import { limits } from "../../tasks/limits.ts";
import { TaskError } from "../../tasks/service.ts";
import { checkAccess } from "./access.ts";
import { audit } from "./audit.ts";
import { type Serving, statusFor } from "./calls.ts";

type Unary = ServerUnaryCall<unknown, unknown>;
type Streaming = ServerDuplexStream<unknown, unknown>;
type Handler = (call: Unary | Streaming, callback?: sendUnaryData<unknown>) => void;

/** Running calls, by connection. */
const counts = new WeakMap<object, Map<string, number>>();

/**
 * Wraps handlers with the checks that apply to every call: the role of the caller's certificate, and
 * the number of running calls of one method in one connection.
 */
export function guarded(
  service: ServiceDefinition,
  handlers: UntypedServiceImplementation,
  serving: Serving,
): UntypedServiceImplementation {
  return Object.fromEntries(
    Object.entries(service).map(([name, { path }]) => {
      const handler = handlers[name] as Handler;
      const guard: Handler = (call, callback) => {
        try {
          const caller = serving.callerOf(call);
          checkAccess(path, caller.certificate?.role);
          if ("request" in call) audit(serving.log, path, caller, call.request);
          if (callback === undefined) count(path, call as Streaming);
        } catch (error) {
          const status = statusFor(serving, path, error);
          serving.counts.ended(path, status.code);
          if (callback === undefined) call.emit("error", status);
          else callback(status);
          return;
        }
        handler.call(handlers, call, callback);
      };
      return [name, guard];
    }),
  ) as UntypedServiceImplementation;
}

/** Counts a stream until it ends. */
function count(path: string, call: Streaming): void {
  const connection = connectionOf(String(call.metadata.get(connectionHeader)[0]));
  if (connection === undefined) return;
  let open = counts.get(connection);
  if (open === undefined) counts.set(connection, open = new Map());
  const now = open.get(path) ?? 0;
  const most = path.startsWith("/agent.v1.WorkerService/")
    ? limits.maxUploadsPerConnection
    : limits.maxStreamsPerConnection;
  if (now >= most) {
    throw new TaskError("exhausted", `This connection has ${most} open calls of this kind`);
  }
  open.set(path, now + 1);
  let isOver = false;
  const over = () => {
    if (isOver) return;
    isOver = true;
    open.set(path, open.get(path)! - 1);
  };
  for (const event of ["cancelled", "close", "finish"]) call.once(event, over);
}

import type { TaskServer } from "../../tasks/service.ts";
import * as wire from "../gen/agent/v1/agent.ts";
import { wireWorker, workerBytes } from "../to_wire.ts";
import { packed, type Serving, streaming, unary } from "./calls.ts";

/** `agent.v1.FleetService`: what clients ask about workers. */
export function fleetHandlers(tasks: TaskServer, serving: Serving): wire.FleetServiceServer {
  return {
    listWorkers: streaming(serving, async function* (_request: wire.ListWorkersRequest) {
      const found = packed(tasks.listWorkers(), workerBytes);
      for await (const part of found) yield { workers: part.map(wireWorker) };
    }),
    drainWorker: unary(serving, async (request: wire.DrainWorkerRequest) => ({
      worker: wireWorker(await tasks.drainWorker(request.workerId)),
    })),
    resumeWorker: unary(serving, async (request: wire.ResumeWorkerRequest) => ({
      worker: wireWorker(await tasks.resumeWorker(request.workerId)),
    })),
    forgetWorker: unary(serving, async (request: wire.ForgetWorkerRequest) => ({
      worker: wireWorker(await tasks.forgetWorker(request.workerId)),
    })),
  };
}

import type { TaskService } from "../../tasks/service.ts";
import * as wire from "../gen/agent/v1/agent.ts";
import { wireWorker } from "../to_wire.ts";
import { parts, type Serving, streaming, unary } from "./calls.ts";

/** `agent.v1.FleetService`: what clients ask about workers. */
export function fleetHandlers(tasks: TaskService, serving: Serving): wire.FleetServiceServer {
  return {
    listWorkers: streaming(serving, async function* (_request: wire.ListWorkersRequest) {
      const found = (await tasks.listWorkers()).map(wireWorker);
      const bytesOf = (worker: wire.Worker) => wire.Worker.encode(worker).finish().length;
      for (const workers of parts(found, bytesOf)) yield { workers };
    }),
    drainWorker: unary(serving, async (request: wire.DrainWorkerRequest) => ({
      worker: wireWorker(await tasks.drainWorker(request.workerId)),
    })),
    resumeWorker: unary(serving, async (request: wire.ResumeWorkerRequest) => ({
      worker: wireWorker(await tasks.resumeWorker(request.workerId)),
    })),
  };
}

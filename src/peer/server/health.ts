import type { handleServerStreamingCall, handleUnaryCall } from "@grpc/grpc-js";
import { status } from "@grpc/grpc-js";
import {
  type HealthCheckRequest,
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus as Serving,
  type HealthServer,
} from "../gen/grpc/health/v1/health.ts";

/** Whether calls are being answered, and the clients that watch it. */
export class Health {
  #serving = true;
  #watchers = new Set<() => void>();

  /** @param services names of those served; the empty name stands for all. */
  constructor(readonly services: ReadonlySet<string>) {}

  get serving(): boolean {
    return this.#serving;
  }

  set(serving: boolean): void {
    if (serving === this.#serving) return;
    this.#serving = serving;
    for (const tell of this.#watchers) tell();
  }

  /** The standard service, `grpc.health.v1.Health`. */
  handlers(): HealthServer {
    return { check: this.#check, watch: this.#watch };
  }

  #statusOf(service: string): Serving {
    if (service !== "" && !this.services.has(service)) return Serving.SERVICE_UNKNOWN;
    return this.#serving ? Serving.SERVING : Serving.NOT_SERVING;
  }

  #check: handleUnaryCall<HealthCheckRequest, HealthCheckResponse> = (call, callback) => {
    const found = this.#statusOf(call.request.service);
    if (found !== Serving.SERVICE_UNKNOWN) return callback(null, { status: found });
    callback({ code: status.NOT_FOUND, details: "There is no such service" });
  };

  #watch: handleServerStreamingCall<HealthCheckRequest, HealthCheckResponse> = (call) => {
    const tell = () => call.write({ status: this.#statusOf(call.request.service) });
    this.#watchers.add(tell);
    call.once("cancelled", () => this.#watchers.delete(tell));
    tell();
  };
}

import { status } from "@grpc/grpc-js";

/** Calls that have ended, by method and status, for metrics. */
export class CallCounts {
  readonly #counts = new Map<string, Map<number, number>>();

  /** @param path such as `/agent.v1.TaskService/Submit`. */
  ended(path: string, code: status): void {
    let byCode = this.#counts.get(path);
    if (byCode === undefined) this.#counts.set(path, byCode = new Map());
    byCode.set(code, (byCode.get(code) ?? 0) + 1);
  }

  /** `["Submit", "OK", 12]` */
  read(): [method: string, code: string, count: number][] {
    return [...this.#counts].flatMap(([path, byCode]) =>
      [...byCode].map(([code, count]): [string, string, number] => [
        path.slice(path.lastIndexOf("/") + 1),
        status[code] ?? String(code),
        count,
      ])
    );
  }
}

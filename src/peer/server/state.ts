import type { StateEntry } from "../../tasks/task.ts";
import type { TaskServer } from "../../tasks/service.ts";
import { numberFrom } from "../from_wire.ts";
import type * as wire from "../gen/agent/v1/agent.ts";
import { wireEntry, wireStateChange } from "../to_wire.ts";
import { packed, type Serving, streaming, unary } from "./calls.ts";

/** `agent.v1.StateService`: small values with revisions. */
export function stateHandlers(tasks: TaskServer, serving: Serving): wire.StateServiceServer {
  return {
    getState: unary(serving, async ({ namespace, key }: wire.GetStateRequest) => ({
      entry: wireEntry(await tasks.getState(namespace, key)),
    })),
    putState: unary(serving, async (request: wire.PutStateRequest, by) => {
      const { namespace, key, value } = request;
      const expected = revisionOf(request.ifRevision);
      const entry = await tasks.putState(namespace, key, value, expected, by);
      return { entry: wireEntry(entry) };
    }),
    deleteState: unary(serving, async (request: wire.DeleteStateRequest) => {
      const { namespace, key } = request;
      const expected = revisionOf(request.ifRevision);
      const { revision } = await tasks.deleteState(namespace, key, expected);
      return { revision: BigInt(revision) };
    }),
    listState: streaming(serving, async function* ({ namespace, prefix }: wire.ListStateRequest) {
      const bytesOf = ({ key, value }: StateEntry) => key.length * 3 + value.length + 400;
      const found = packed(tasks.listState(namespace, prefix), bytesOf);
      for await (const part of found) yield { entries: part.map(wireEntry) };
    }),
    watchState: streaming(
      serving,
      async function* ({ namespace, prefix }: wire.WatchStateRequest, signal) {
        for await (const change of tasks.watchState(namespace, prefix, signal)) {
          yield { change: wireStateChange(change) };
        }
      },
    ),
  };
}

function revisionOf(value: bigint | undefined): number | undefined {
  return value === undefined ? undefined : numberFrom(value);
}

/** Submitting by worker: only where one matches, or once for each that does. */
import { UserError } from "../base/errors.ts";
import { printable } from "../base/printable.ts";
import { ownLabels, showLabels } from "../tasks/selectors.ts";
import type { SubmitOptions, TaskService } from "../tasks/service.ts";
import type { Labels, TaskSpec } from "../tasks/task.ts";
import { unmatched, workersFor } from "./wait_explanation.ts";

/** @throws {UserError} `no_match` where no known worker has the labels. */
export async function requireMatch(tasks: TaskService, selector: Labels): Promise<void> {
  if (workersFor(selector, await tasks.listWorkers()).length > 0) return;
  const { reason, next } = unmatched(selector);
  throw new UserError(`Nothing was submitted: ${printable(reason)}`, {
    code: "no_match",
    ...(next === null ? {} : { next }),
  });
}

export interface SubmittedToEach {
  id: string;
  worker: string;
}

/**
 * Submits the task once for every worker that matches, is connected and not drained.
 *
 * @param drained is told which workers get none.
 * @throws {UserError} `no_match` where there is none.
 */
export async function* submitToEach(
  tasks: TaskService,
  spec: TaskSpec,
  { idempotencyKey }: SubmitOptions,
  drained: (worker: string) => Promise<void> | void = () => {},
): AsyncGenerator<SubmittedToEach> {
  const { selector } = spec;
  const connected = workersFor(selector, await tasks.listWorkers())
    .filter((worker) => worker.connected);
  for (const { id, draining } of connected) if (draining) await drained(id);
  const active = connected.filter((worker) => !worker.draining);
  if (active.length === 0) {
    const labels = Object.keys(selector).length === 0 ? "" : ` with ${showLabels(selector)}`;
    throw new UserError(`Nothing was submitted: no worker${labels} is connected and not drained`, {
      code: "no_match",
      next: "agent workers list",
    });
  }
  for (const { id: worker } of active) {
    const own = { ...spec, selector: { ...selector, [ownLabels.worker]: worker } };
    const once = idempotencyKey === undefined
      ? {}
      : { idempotencyKey: `${idempotencyKey} ${worker}` };
    yield { id: (await tasks.submit(own, once)).id, worker };
  }
}

/** Which certificate may use a worker id: pure rules over the worker's hello and what is stored. */
import { TaskError, type WorkerHello } from "../tasks/service.ts";
import type { StoredWorker } from "./store.ts";

/** A bound certificate may use an id that it names, that is new, or that it was the first to use. */
export function checkOwner(
  { workerId, certificate }: WorkerHello,
  known: StoredWorker | undefined,
): void {
  if (!certificate?.isBound || certificate.namesId || known === undefined) return;
  if (known.owner === certificate.publicKey) return;
  throw new TaskError(
    "forbidden",
    `The worker id "${workerId}" belongs to another certificate, and this one does not name it`,
    undefined,
    { next: `Issue one that does: agent tls mint --role worker --hostname ${workerId} -o DIR` },
  );
}

/** The first certificate that used the id, or a later one that names it. */
export function ownerOf({ certificate }: WorkerHello, known: StoredWorker | undefined) {
  const isNew = known?.owner === undefined || certificate?.namesId === true;
  return isNew ? certificate?.publicKey ?? known?.owner : known.owner;
}

import type { Env } from "../base/env.ts";
import { UserError } from "../base/errors.ts";
import { peerMode } from "../config/peer_mode.ts";
import type { Config } from "../config/schema.ts";
import {
  isAssigned,
  type TaskView,
  taskView,
  type WorkerView,
  workerView,
} from "../client/views.ts";
import type { TaskService } from "../tasks/service.ts";
import { dialledAddresses, withTasks } from "./connect.ts";

/** Tasks of one kind on the screen; more are counted. */
const shownTasks = 5;

/** One page of the protocol: a longer queue is shown as "more than". */
const countedTasks = 1_000;

/** What failed before is history: `task list` shows it. */
const recentMs = 86_400_000;

/** What `agent status` shows. */
export interface Overview {
  coordinators: { address: string; answers: boolean; reason: string | null }[];
  workers: WorkerView[];
  /** `more`: there are more than the number. */
  queued: { count: number; more: boolean };
  running: { count: number; more: boolean; tasks: TaskView[] };
  /** How many of those that run have not been started by their worker yet. */
  assigned: { count: number; more: boolean };
  /** In the last 24 hours, the newest first. */
  failed: { count: number; more: boolean; tasks: TaskView[] };
  /** Of this host's client, by the end of their validity. */
  certificates: { file: string; subject: string; not_after: string; days_left: number }[];
}

/** Asks every coordinator; one that does not answer is part of the answer. */
export async function overviewOf(context: { config: Config; env: Env }): Promise<Overview> {
  const addresses = dialledAddresses(context.config);
  const coordinators = await Promise.all(
    addresses.map(({ address, config }) => reach(address, { ...context, config })),
  );
  const certificates = await certificatesOf(context);
  const none = { count: 0, more: false };
  const rows = { ...none, tasks: [] };
  const empty = { queued: none, assigned: none, running: rows, failed: rows };
  if (!coordinators.some(({ answers }) => answers)) {
    return { coordinators, workers: [], ...empty, certificates };
  }
  return await withTasks(context, async (tasks) => {
    const [workers, queued, running, failed] = await Promise.all([
      tasks.listWorkers(),
      tasks.listTasks({ states: ["queued"], limit: countedTasks }),
      tasks.listTasks({ states: ["running"], limit: countedTasks }),
      failedLately(tasks, context.env.clock.now()),
    ]);
    const run = running.tasks.map(taskView);
    return {
      coordinators,
      workers: workers.map(workerView),
      queued: { count: queued.tasks.length, more: queued.more },
      running: {
        count: run.length,
        more: running.more,
        tasks: run.slice(0, shownTasks),
      },
      assigned: { count: run.filter(isAssigned).length, more: running.more },
      failed,
      certificates,
    };
  });
}

async function reach(
  address: string,
  context: { config: Config; env: Env },
): Promise<Overview["coordinators"][number]> {
  try {
    await withTasks(context, (tasks) => tasks.listTasks({ limit: 1 }));
    return { address, answers: true, reason: null };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return { address, answers: false, reason: error.message };
  }
}

async function failedLately(tasks: TaskService, now: number): Promise<Overview["failed"]> {
  const found = await tasks.listTasks({
    states: ["failed", "timed_out", "lost"],
    limit: countedTasks,
  });
  const recent = found.tasks.filter((task) => (task.finishedAt ?? 0) > now - recentMs);
  return {
    count: recent.length,
    more: found.more && recent.length === found.tasks.length,
    tasks: recent.slice(0, shownTasks).map(taskView),
  };
}

/** The certificates that this host dials with; without TLS there are none. */
async function certificatesOf(
  { config, env }: { config: Config; env: Env },
): Promise<Overview["certificates"]> {
  const mode = peerMode(config, "client");
  if (mode.mode === "h2c") return [];
  const [{ readCertificates }, { daysLeft }] = await Promise.all([
    import("../pki/x509/inspect.ts"),
    import("../pki/x509/renewal.ts"),
  ]);
  const files = [mode.certFile, mode.clientCaFile].filter((file) => file !== undefined);
  return files.flatMap((file) =>
    readCertificates(file).map((certificate) => ({
      file,
      subject: certificate.subject,
      not_after: certificate.notAfter.toISOString(),
      days_left: daysLeft(certificate, env.clock.now()),
    }))
  ).toSorted((a, b) => a.days_left - b.days_left);
}

/** What a worker counts, for its metrics and its health endpoint. */
export interface WorkerStats {
  slots: number;
  running: number;
  /** Assigned and waiting for a slot. */
  waiting: number;
  /** Finished and not acknowledged yet. */
  undelivered: number;
  sessions: number;
  coordinators: number;
  /** Attempts since the start, by state. */
  finished: Record<string, number>;
  outputBytes: number;
  /** Why no task can be started on this host; undefined if tasks can be. */
  trouble: string | undefined;
}

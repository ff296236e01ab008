/** Bounds on everything that a peer sends. Each is far above use and far below harm. */
export const limits = {
  /** gRPC messages; chunks stay well below it. */
  maxMessageBytes: 4 * 1024 * 1024,
  maxChunkBytes: 1024 * 1024,
  /**
   * Of one method, under way at once: a node passes on what all its browsers follow. When such a
   * connection breaks, their end holds the event loop for about 20 ms.
   */
  maxStreamsPerConnection: 200,
  /** One connection is one worker: an upload for each slot, and for results that wait. */
  maxUploadsPerConnection: 8_192,
  /** Linux gives a process 2 MiB for arguments and environment together by default. */
  maxArgvBytes: 1024 * 1024,
  maxArgs: 10_000,
  maxEnvBytes: 256 * 1024,
  maxEnvEntries: 1_000,
  /** Part of the task, and so of each message that assigns it. */
  maxStdinBytes: 1024 * 1024,
  maxLabels: 64,
  /** As Kubernetes bounds label values; DNS labels have the same length (RFC 1035, 2.3.4). */
  maxLabelLength: 63,
  /** A host name (RFC 1035, 2.3.4). */
  maxWorkerIdLength: 253,
  maxWorkers: 10_000,
  /** More on one host is a slip of the keyboard: each slot is a process of its own. */
  maxSlots: 4_096,
  maxArray: 10_000,
  /** In one answer to a list; a thousand small tasks are well below a message's bound. */
  maxListed: 1_000,
  /** Of one call: ten of the largest arrays. */
  maxWatched: 100_000,
  maxArtifactGlobs: 100,
  /** Output kept of one attempt where `coordinator.log_limit` does not say otherwise. */
  logBytes: 1024 ** 3,
  maxArtifactsPerAttempt: 10_000,
  /** PATH_MAX of Linux, with its final zero. */
  maxPathLength: 4095,
  maxRetries: 1_000,
  maxReasonLength: 2_000,
  maxIdempotencyKeyLength: 200,
  maxStateNamespaceLength: 100,
  maxStateKeyLength: 500,
  maxStateValueBytes: 1024 * 1024,
  maxHeld: 20_000,
  /** Of one worker, each a line that people read. */
  maxWarnings: 20,
  /** Shorter, and one slow garbage collection or one lost packet would cost running tasks. */
  minLostAfterMs: 10_000,
  /** A worker that is away for longer is noticed by people. */
  maxLostAfterMs: 86_400_000,
} as const;

/** How leases and heartbeats are timed. The order of the deadlines is what keeps two attempts apart. */
export const leaseTimes = {
  /** A worker's heartbeat. Late after 5 missed ones. */
  heartbeatMs: 1_000,
  /**
   * After the coordinator received a heartbeat, until it may give the attempts away. The proportion of
   * this to `workerEndsMs` holds for every `coordinator.lost_after`.
   */
  leaseMs: 15_000,
  /**
   * After the worker sent the last acknowledged heartbeat, until it kills the attempts' processes.
   * 4 s remain for the kill itself and for clocks that run at different speeds.
   */
  workerEndsMs: 11_000,
  /** Without a beat from the runner, until the guardian kills all process groups. */
  guardianMs: 4_000,
  /** Worker health: healthy below the first, late below the second, then lost. */
  lateAfterMs: 5_000,
  lostAfterMs: 15_000,
  /** How often a lost attempt is followed by another: the task may be what kills its workers. */
  maxRequeues: 3,
  /** How long workers keep their attempts when the coordinator stops in an orderly way. */
  holdMs: 600_000,
} as const;

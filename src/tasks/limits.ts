/** Limits of everything that a peer sends: far above normal use, far below what does harm. */
export const limits = {
  /** gRPC messages; chunks stay well below it. */
  maxMessageBytes: 4 * 1024 * 1024,
  maxChunkBytes: 1024 * 1024,
  /**
   * Running calls of one method in one connection: a node makes calls for all its browsers. When such
   * a connection breaks, ending them blocks the event loop for about 20 ms.
   */
  maxStreamsPerConnection: 200,
  /** Open calls of all methods but the workers' own in one connection; for the same reason. */
  maxCallsPerConnection: 500,
  /** Running uploads in one connection, of one worker: one for each slot and each waiting result. */
  maxUploadsPerConnection: 8_192,
  /** Linux gives a process 2 MiB for arguments and environment together by default. */
  maxArgvBytes: 1024 * 1024,
  maxArgs: 10_000,
  maxEnvBytes: 256 * 1024,
  maxEnvEntries: 1_000,
  /** Part of the task, and so of each message that assigns it. */
  maxStdinBytes: 1024 * 1024,
  maxLabels: 64,
  /** The limit of Kubernetes for label values, and of DNS labels (RFC 1035, 2.3.4). */
  maxLabelLength: 63,
  /** A host name (RFC 1035, 2.3.4). */
  maxWorkerIdLength: 253,
  maxWorkers: 10_000,
  /** More on one host is a typing mistake: each slot is a process. */
  maxSlots: 4_096,
  maxArray: 10_000,
  /** Together, of an array that has them; and what each of its elements may have besides. */
  maxLinesBytes: 1024 * 1024,
  maxLineSpecBytes: 16 * 1024,
  /** Tasks in one answer; a thousand small tasks are well below the limit of a message. */
  maxListed: 1_000,
  /** Of one call: ten of the largest arrays. */
  maxWatched: 100_000,
  maxArtifactGlobs: 100,
  /** Both streams of an attempt that come with its result: a few lines, in a batch of a hundred results. */
  maxInlineBytes: 8 * 1024,
  /** Default of `coordinator.log_limit`: output kept of one attempt. */
  logBytes: 1024 ** 3,
  maxArtifactsPerAttempt: 10_000,
  /** What the wires have room for; retries end long before. */
  maxAttempt: 2 ** 31 - 1,
  /** A file that is sent whole, with others in one message; larger ones have a stream of their own. */
  maxSmallFileBytes: 16 * 1024,
  /** In one message: stored in a commit that takes some 10 ms. */
  maxSmallFiles: 250,
  maxSmallFilesBytes: 1024 * 1024,
  /** PATH_MAX of Linux, with its final zero. */
  maxPathLength: 4095,
  maxRetries: 1_000,
  maxReasonLength: 2_000,
  maxIdempotencyKeyLength: 200,
  maxStateNamespaceLength: 100,
  maxStateKeyLength: 500,
  maxStateValueBytes: 1024 * 1024,
  maxHeld: 20_000,
  /** Results in one message, each with its reason: handled within some 10 ms. */
  maxResults: 100,
  /** Of one worker, each a line that people read. */
  maxWarnings: 20,
  /** With a shorter one, a slow garbage collection or a lost packet would end running tasks. */
  minLostAfterMs: 10_000,
  /** If a worker is away for longer, a person notices. */
  maxLostAfterMs: 86_400_000,
  /** The same for one task; longer is for ever. */
  maxTaskLostAfterMs: 30 * 86_400_000,
} as const;

/** The times of leases and heartbeats. Their order ensures that two attempts never overlap. */
export const leaseTimes = {
  /** A worker's heartbeat. Late after 5 missed ones. */
  heartbeatMs: 1_000,
  /**
   * From the arrival of a heartbeat until the coordinator may give the attempts to others. Its ratio to
   * `workerEndsMs` is the same for every `coordinator.lost_after`.
   */
  leaseMs: 15_000,
  /**
   * From the sending of the last acknowledged heartbeat until the worker kills the attempts' processes.
   * 4 s remain for the kill itself and for clocks of different speed.
   */
  workerEndsMs: 11_000,
  /** Time without a heartbeat of the runner after which the guardian kills all process groups. */
  guardianMs: 4_000,
  /** Worker health: healthy below the first, late below the second, then lost. */
  lateAfterMs: 5_000,
  lostAfterMs: 15_000,
  /** How often a lost attempt is repeated: the task itself may kill its workers. */
  maxRequeues: 3,
  /** How long workers keep their attempts when the coordinator stops in an orderly way. */
  holdMs: 600_000,
} as const;

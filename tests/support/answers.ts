import { TaskError, type TaskServer, type TaskService } from "../../src/tasks/service.ts";

/** What a coordinator serves, as its clients get it. */
export function wholeAnswers(served: TaskServer): TaskService {
  return {
    ...served,
    getTask: (id) => Array.fromAsync(served.getTask(id)),
    async listTasks(query) {
      const { tasks, more } = await served.listTasks(query);
      return { tasks: await Array.fromAsync(tasks), more };
    },
    cancelTask: (id) => Array.fromAsync(served.cancelTask(id)),
    retryTask: (id) => Array.fromAsync(served.retryTask(id)),
    deleteTask: (id) => Array.fromAsync(served.deleteTask(id)),
    pruneTasks: async (query) => (await Array.fromAsync(served.pruneTasks(query))).at(-1)!,
    listArtifacts: (taskId, attempt) => Array.fromAsync(served.listArtifacts(taskId, attempt)),
    listWorkers: () => Array.fromAsync(served.listWorkers()),
    watchState: (...args) => served.watchState(...args),
    listState: (namespace, prefix) => Array.fromAsync(served.listState(namespace, prefix)),
  };
}

/** The other way round, for answers that a test has whole. */
export function servedAnswers(tasks: TaskService): TaskServer {
  async function* items<T>(all: Promise<T[]>): AsyncGenerator<T> {
    yield* await all;
  }
  return {
    submit: (...args) => tasks.submit(...args),
    watchTasks: (...args) => tasks.watchTasks(...args),
    watchChanges: (...args) => tasks.watchChanges(...args),
    readLog: (...args) => tasks.readLog(...args),
    getArtifacts(...args) {
      if (tasks.getArtifacts === undefined) {
        throw new TaskError("unsupported", "It has no such call");
      }
      return tasks.getArtifacts(...args);
    },
    followTasks(...args) {
      if (tasks.followTasks === undefined) {
        throw new TaskError("unsupported", "It has no such call");
      }
      return tasks.followTasks(...args);
    },
    readArtifact: (...args) => tasks.readArtifact(...args),
    drainWorker: (id) => tasks.drainWorker(id),
    resumeWorker: (id) => tasks.resumeWorker(id),
    forgetWorker: (id) => tasks.forgetWorker(id),
    getState: (...args) => tasks.getState(...args),
    putState: (namespace, key, value, ifRevision) =>
      tasks.putState(namespace, key, value, ifRevision),
    deleteState: (...args) => tasks.deleteState(...args),
    getTask: (id) => items(tasks.getTask(id)),
    async listTasks(query) {
      const { tasks: found, more } = await tasks.listTasks(query);
      return { tasks: items(Promise.resolve(found)), more };
    },
    cancelTask: (id) => items(tasks.cancelTask(id)),
    retryTask: (id) => items(tasks.retryTask(id)),
    deleteTask: (id) => items(tasks.deleteTask(id)),
    async *pruneTasks(query) {
      yield await tasks.pruneTasks(query);
    },
    listArtifacts: (...args) => items(tasks.listArtifacts(...args)),
    listWorkers: () => items(tasks.listWorkers()),
    watchState: (...args) => tasks.watchState(...args),
    listState: (namespace, prefix) => items(tasks.listState(namespace, prefix)),
  };
}

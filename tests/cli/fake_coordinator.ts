import { systemClock } from "../../src/base/clock.ts";
import { agent, type RunOptions } from "../support/agent.ts";
import { silentLog } from "../support/silent_log.ts";
import { fakeTasks } from "../support/fake_tasks.ts";
import { servedAnswers } from "../support/answers.ts";
import { servePeer } from "../../src/peer/server.ts";
import type { TaskService, WorkerServer } from "../../src/tasks/service.ts";
import { type Home, tempHome } from "../support/home.ts";

export interface FakeCoordinator extends AsyncDisposable {
  /** A home with this coordinator in its configuration. */
  home: Home;
  port: number;
  /** Stops; running calls break. */
  stop(): Promise<void>;
  /** Starts again on the same port, with these answers. */
  restart(answers: Partial<TaskService>): Promise<void>;
}

/** A coordinator in this process with the given answers, over real gRPC. */
export async function fakeCoordinator(answers: Partial<TaskService>): Promise<FakeCoordinator> {
  await using open = new AsyncDisposableStack();
  const home = open.use(await tempHome());
  const serve = (port: number, given: Partial<TaskService>) =>
    servePeer({
      host: "127.0.0.1",
      port,
      mode: { mode: "h2c" },
      tasks: servedAnswers(fakeTasks(given)),
      workers: {} as WorkerServer,
      env: { clock: systemClock, log: silentLog },
    }, new AbortController().signal);
  let server = await serve(0, answers);
  const { port } = server;
  await Deno.writeTextFile(home.configFile, `client:\n  coordinators: 127.0.0.1:${port}\n`);
  open.defer(() => server[Symbol.asyncDispose]());
  const kept = open.move();
  return {
    home,
    port,
    stop: () => server[Symbol.asyncDispose](),
    restart: async (given) => {
      server = await serve(port, given);
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** The same, with a function that runs a command line on it. */
export async function asking(answers: Partial<TaskService>) {
  const coordinator = await fakeCoordinator(answers);
  return {
    ...coordinator,
    run: (line: string, options: RunOptions = {}) =>
      agent.run(line.split(" "), { home: coordinator.home, ...options }),
  };
}

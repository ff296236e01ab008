import { join } from "node:path";
import { UserError } from "../../base/errors.ts";
import { followExit } from "../../client/exit.ts";
import type { TaskView, WorkerView } from "../../client/views.ts";
import { type Hosts, workerNames } from "./hosts.ts";

/** A dozen commands, whose sum is known: a part that got lost would be noticed. */
const parts = { first: 1, last: 12, numbers: 5_000 };
/** The number of primes below 60,000. */
const primesBelowAll = 6_057;

/** Paced, so that one worker does not finish all of them before the other begins. */
const countPrimes = `sleep 0.2; awk -v part="$AGENT_ARRAY_INDEX" -v size=${parts.numbers} 'BEGIN {
  first = (part - 1) * size; if (first < 2) first = 2
  for (n = first; n < part * size; n++) {
    prime = 1
    for (d = 2; d * d <= n; d++) if (n % d == 0) { prime = 0; break }
    found += prime
  }
  printf "part %2d: %d primes from %d to %d\\n", part, found, (part - 1) * size, part * size - 1
}'`;

/** What the hosts did, and how it went. */
export interface Story {
  work: Work[];
  workers: WorkerView[];
}

export interface Work {
  what: string;
  tasks: TaskView[];
  outcome: string;
}

/** Work that was done, to be compared with what the coordinator recorded. */
interface Plan extends Omit<Work, "tasks"> {
  id: string;
  verify: (tasks: TaskView[]) => void;
}

/** Says one line of a task's output, under the name of what it belongs to. */
export type Tell = (name: string, line: string) => Promise<void>;

interface Teller {
  client: Hosts["client"];
  folder: string;
  tell: Tell;
}

/** Does real work, and throws where anything of it did not go as it should. */
export async function tellStory(hosts: Hosts, folder: string, tell: Tell): Promise<Story> {
  const { client } = hosts;
  const teller = { client, folder, tell };
  const first = await fanOut(teller);
  const others = await Promise.all([
    failOnce(teller),
    cancelled(teller),
    makeFile(teller),
    refuseStranger(hosts),
  ]);
  const plans = [first, ...others.filter((plan) => plan !== undefined)];
  const [{ tasks }, { workers }] = await Promise.all([
    client.run(["task", "list", "--json"]).then(({ stdout }) => JSON.parse(stdout)),
    client.run(["workers", "list", "--json"]).then(({ stdout }) => JSON.parse(stdout)),
  ]) as [{ tasks: TaskView[] }, { workers: WorkerView[] }];
  const work = plans.map(({ id, what, outcome, verify }): Work => {
    const own = tasks.filter((task) => task.id === id || task.array_id === id);
    verify(own);
    return { what, tasks: own, outcome };
  });
  for (const name of workerNames) {
    const identity = workers.find(({ id }) => id === name)?.identity;
    check(identity?.includes(name) === true, `worker ${name} proved to be "${identity}"`);
  }
  return { work, workers };
}

/** Submits a task and follows it to its end. */
async function submit({ client, tell }: Teller, name: string, args: string[]) {
  // The first line that `submit --follow` writes to stderr is the id; the rest is the task's.
  let id: string | undefined;
  const { stdout } = await client.run(["submit", "--follow", ...args], {
    line: (line) => tell(name, line),
    errorLine: async (line) => {
      if (id === undefined) id = line;
      else await tell(name, line);
    },
  });
  return { id: id!, stdout };
}

async function fanOut(teller: Teller): Promise<Plan> {
  const range = `${parts.first}-${parts.last}`;
  const args = ["--array", range, "--shell", "--", countPrimes];
  const { id, stdout } = await submit(teller, "primes", args);
  const found = [...stdout.matchAll(/: (\d+) primes/g)].map(([, number]) => Number(number));
  const sum = found.reduce((a, b) => a + b, 0);
  check(found.length === parts.last, `${found.length} of ${parts.last} parts answered`);
  check(sum === primesBelowAll, `the parts sum up to ${sum}, not ${primesBelowAll}`);
  return {
    id,
    what: `${parts.last} parts`,
    outcome: `${sum} primes, as expected`,
    verify(tasks) {
      const used = new Set(tasks.map((task) => task.attempts.at(-1)?.worker_id));
      check(used.size === workerNames.length, "one worker got no part of the work");
    },
  };
}

async function failOnce(teller: Teller): Promise<Plan> {
  const line = 'if mkdir "$TRIED" 2>/dev/null; then echo "try 1: failed" >&2; exit 1; fi; ' +
    'echo "try 2: worked"';
  const env = `TRIED=${join(teller.folder, "tried")}`;
  const args = ["--retries", "1", "--env", env, "--shell", "--", line];
  const { id } = await submit(teller, "retry", args);
  return {
    id,
    what: "fails once",
    outcome: "succeeded at the second attempt",
    verify([task]) {
      const codes = task!.attempts.map((attempt) => attempt.exit_code).join();
      check(codes === "1,0", `the attempts ended with ${codes}, not 1,0`);
    },
  };
}

async function cancelled({ client, tell }: Teller): Promise<Plan> {
  const line = 'echo "this would take ten minutes"; exec sleep 600';
  const { stdout } = await client.run(["submit", "--shell", "--", line]);
  const id = stdout.trim();
  await client.run(["task", "cancel", id]);
  await client.run(["task", "logs", id, "--follow"], { expected: [followExit.cancelled] });
  await tell("cancel", `${id} is cancelled`);
  return {
    id,
    what: "sleeps long",
    outcome: "cancelled",
    verify: ([task]) =>
      check(task!.state === "cancelled", `the task is ${task!.state}, not cancelled`),
  };
}

async function makeFile(teller: Teller): Promise<Plan> {
  const line = "mkdir out; uname -a | tee out/host.txt";
  const args = ["--artifact", "out/*", "--shell", "--", line];
  const { id, stdout } = await submit(teller, "report", args);
  const target = join(teller.folder, "results");
  await teller.client.run(["task", "artifacts", id, "-o", target]);
  const saved = await Deno.readTextFile(join(target, "out", "host.txt"));
  check(saved === stdout, "the artifact is not what the task wrote");
  const outcome = "out/host.txt, checksum right";
  return { id, what: "makes a file", outcome, verify: () => {} };
}

async function refuseStranger({ client, withoutCertificate }: Hosts): Promise<undefined> {
  const refused = await client.run(["workers", "list"], { env: withoutCertificate, expected: [1] });
  // The coordinator is up: it serves others at this very moment.
  check(refused.stdout === "", "a client without a certificate was served");
}

function check(holds: boolean, otherwise: string): void {
  if (!holds) {
    throw new UserError(`The demo failed: ${otherwise}`, { code: "demo_failed" });
  }
}

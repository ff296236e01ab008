/** The tasks that match a filter: loaded page by page, newest first, and kept current. */
import { signal } from "@preact/signals";
import { call, type Problem, problemOf } from "../node_api.ts";
import type { TaskView, UnansweredView } from "../views.ts";
import { unanswered } from "./unanswered.ts";

/**
 * The first page is more than a screen and quick; further ones are large, and still below 1 MB. The
 * node gives 1,000 at most.
 */
const pageSize = { first: 200, further: 500, largest: 1_000 };

interface Page {
  tasks: TaskView[];
  more: boolean;
  unanswered: UnansweredView[];
}

export class TaskList {
  readonly tasks = signal<TaskView[]>([]);
  readonly more = signal(true);
  readonly isLoading = signal(false);
  readonly problem = signal<Problem | undefined>(undefined);
  #generation = 0;
  /** Changes received while a page loads: its response may be older. */
  #meanwhile: { changed: TaskView[]; deletedIds: string[] }[] = [];

  constructor(readonly states: string[], readonly arrayId: string) {}

  /** Loads again what was loaded, so that nobody loses their place in a long list. */
  async reload(): Promise<void> {
    const wanted = Math.max(pageSize.first, this.tasks.value.length);
    await this.#load(undefined, wanted);
  }

  async loadMore(): Promise<void> {
    const last = this.tasks.value.at(-1);
    if (this.isLoading.value || !this.more.value || last === undefined) return;
    await this.#load(last.id, pageSize.further);
  }

  /** Takes in tasks that changed, and drops those that were deleted. */
  apply(changed: TaskView[], deletedIds: string[] = []): void {
    if (this.isLoading.value) this.#meanwhile.push({ changed, deletedIds });
    const byId = new Map(this.tasks.value.map((task) => [task.id, task]));
    const oldest = this.tasks.value.at(-1);
    for (const task of changed) {
      const isBelowWindow = this.more.value && oldest !== undefined &&
        compareNewestFirst(task, oldest) > 0;
      if (!this.#matches(task)) byId.delete(task.id);
      else if (byId.has(task.id) || !isBelowWindow) byId.set(task.id, task);
    }
    for (const id of deletedIds) byId.delete(id);
    this.tasks.value = [...byId.values()].sort(compareNewestFirst);
  }

  /** Loads at least this many tasks: those older than `before`, or the newest ones. */
  async #load(before: string | undefined, wanted: number): Promise<void> {
    const generation = ++this.#generation;
    this.isLoading.value = true;
    this.#meanwhile = [];
    const loaded = before === undefined ? [] : [...this.tasks.value];
    const enough = loaded.length + wanted;
    try {
      let more = true;
      while (more && loaded.length < enough) {
        const page = await this.#page(loaded.at(-1)?.id, enough - loaded.length);
        if (generation !== this.#generation) return;
        loaded.push(...page.tasks);
        more = page.more && page.tasks.length > 0;
      }
      this.tasks.value = loaded;
      this.more.value = more;
      this.problem.value = undefined;
      this.isLoading.value = false;
      for (const { changed, deletedIds } of this.#meanwhile) this.apply(changed, deletedIds);
    } catch (error) {
      if (generation !== this.#generation) return;
      this.problem.value = problemOf(error);
      this.isLoading.value = false;
    }
  }

  async #page(before: string | undefined, count: number): Promise<Page> {
    const limit = Math.min(count, pageSize.largest);
    const query = new URLSearchParams({ limit: String(limit), specs: "once" });
    if (this.states.length > 0) query.set("state", this.states.join(","));
    if (this.arrayId !== "") query.set("array", this.arrayId);
    if (before !== undefined) query.set("before", before);
    const page = await call<Page>("GET", `/api/tasks?${query}`);
    unanswered.value = page.unanswered;
    // The elements of an array share one.
    page.tasks.forEach((task, at) => task.spec ??= page.tasks[at - 1]!.spec);
    return page;
  }

  #matches(task: TaskView): boolean {
    return (this.states.length === 0 || this.states.includes(task.state)) &&
      (this.arrayId === "" || task.array_id === this.arrayId);
  }
}

/** Ids sort by time; the elements of an array by their index, the last one first. */
export function compareNewestFirst(a: TaskView, b: TaskView): number {
  const [idOfA, idOfB] = [a.array_id ?? a.id, b.array_id ?? b.id];
  if (idOfA !== idOfB) return idOfA < idOfB ? 1 : -1;
  return (b.array_index ?? 0) - (a.array_index ?? 0);
}

/** Whether the text occurs in what a person sees of the task. */
export function matchesText(task: TaskView, text: string): boolean {
  if (text === "") return true;
  const shown = [
    task.id,
    ...task.spec.argv,
    task.state,
    task.reason ?? "",
    ...task.attempts.map(({ worker_id }) => worker_id),
    ...Object.entries(task.spec.selector).map(([key, value]) => `${key}=${value}`),
  ].join(" ");
  return shown.toLowerCase().includes(text.toLowerCase());
}

import { useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { onTaskChanges } from "../model/node_data.ts";
import { matchesText, TaskList } from "../model/task_list.ts";
import { unanswered } from "../model/unanswered.ts";
import { Command } from "../parts/copy.tsx";
import { plural } from "../parts/format.ts";
import { Empty, Failure, MissingParts } from "../parts/problem.tsx";
import { stateText, taskStates } from "../parts/state.tsx";
import { links, replaceRoute, route } from "../route.ts";
import { SubmitDialog } from "./submit.tsx";
import { ArrayBar } from "./array_bar.tsx";
import { TasksTable } from "./tasks_table.tsx";

/** A filter by text looks at the tasks that are loaded; this many are loaded for it by itself. */
const searchedByItself = 2_000;

interface Filter {
  states: string[];
  text: string;
  array: string;
}

export function TasksPage() {
  const isSubmitting = useSignal(false);
  const filter = filterOf(route.value.query);
  const list = useTaskList(filter);
  const shown = list.tasks.value.filter((task) => matchesText(task, filter.text));
  const problem = list.problem.value;
  // After a failure the user decides when to try again: no endless requests.
  const isBusy = list.isLoading.value || problem !== undefined;
  const isSearching = filter.text !== "" && list.more.value &&
    list.tasks.value.length < searchedByItself;
  useEffect(() => {
    if (isSearching && !isBusy) list.loadMore();
  }, [isSearching, list.tasks.value.length, isBusy]);
  const isEmpty = !list.isLoading.value && problem === undefined && shown.length === 0;
  return (
    <>
      <div class="heading">
        <h1 tabIndex={-1}>Tasks</h1>
        <button type="button" class="primary" onClick={() => isSubmitting.value = true}>
          Submit a task
        </button>
      </div>
      <FilterBar filter={filter} />
      {filter.array !== "" && <ArrayBar id={filter.array} tasks={list.tasks.value} />}
      <MissingParts of={unanswered.value} />
      {problem !== undefined && <Failure problem={problem} retry={() => list.reload()} />}
      {shown.length > 0 && (
        <TasksTable
          tasks={shown}
          isWhole={!list.more.value}
          mayLoad={!isBusy && filter.text === ""}
          onNearEnd={() => list.loadMore()}
        />
      )}
      {isEmpty && (list.more.value ? null : <NoTasks isFiltered={isFiltered(filter)} />)}
      <ListEnd list={list} filter={filter} shown={shown.length} />
      {isSubmitting.value && <SubmitDialog onClose={() => isSubmitting.value = false} />}
    </>
  );
}

function useTaskList(filter: Filter): TaskList {
  const list = useMemo(
    () => new TaskList(filter.states, filter.array),
    [filter.states.join(), filter.array],
  );
  useEffect(() => {
    list.reload();
    return onTaskChanges((...changes) => list.apply(...changes), () => list.reload());
  }, [list]);
  return list;
}

function FilterBar({ filter }: { filter: Filter }) {
  const change = (changed: Partial<Filter>) => {
    const { states, text, array } = { ...filter, ...changed };
    replaceRoute(links.tasksWith({ state: states.join(","), text, array }));
  };
  const toggle = (state: string) =>
    change({
      states: filter.states.includes(state)
        ? filter.states.filter((each) => each !== state)
        : [...filter.states, state],
    });
  return (
    <div class="filters" role="search" aria-label="Tasks">
      <input
        type="search"
        aria-label="Filter by text"
        placeholder="Command, id, worker, label…"
        value={filter.text}
        onInput={(event) => change({ text: event.currentTarget.value })}
      />
      <div class="toggles" role="group" aria-label="Filter by state">
        {taskStates.map((state) => (
          <button
            key={state}
            type="button"
            aria-pressed={filter.states.includes(state)}
            onClick={() => toggle(state)}
          >
            <span class={`dot ${state}`} aria-hidden="true" />
            {stateText(state)}
          </button>
        ))}
      </div>
    </div>
  );
}

function NoTasks({ isFiltered }: { isFiltered: boolean }) {
  if (isFiltered) {
    return (
      <Empty title="No task matches the filter">
        <a href={links.tasks}>Show all tasks</a>
      </Empty>
    );
  }
  return (
    <Empty title="No task has been submitted yet">
      <p>Submit one here, or on any host that reaches a coordinator:</p>
      <Command line="agent submit --follow -- uname -a" />
    </Empty>
  );
}

/** Below the last row: whether more is loading, or how far the search went. */
function ListEnd({ list, filter, shown }: { list: TaskList; filter: Filter; shown: number }) {
  const searched = list.tasks.value.length;
  if (list.problem.value !== undefined) return null;
  if (list.isLoading.value) return <p class="quiet list-end" role="status">Loading…</p>;
  if (filter.text !== "" && list.more.value) {
    return (
      <p class="list-end">
        {`${plural(shown, "match", "matches")} in the newest ${plural(searched, "task")}. `}
        <button type="button" onClick={() => list.loadMore()}>Search older tasks</button>
      </p>
    );
  }
  return null;
}

function filterOf(query: URLSearchParams): Filter {
  const states = (query.get("state") ?? "").split(",").filter((state) =>
    (taskStates as string[]).includes(state)
  );
  return { states, text: query.get("text") ?? "", array: query.get("array") ?? "" };
}

function isFiltered({ states, text, array }: Filter): boolean {
  return states.length > 0 || text !== "" || array !== "";
}

import { useSignal } from "@preact/signals";
import { useEffect, useId, useRef } from "preact/hooks";
import { loadWorkers, workers } from "../model/node_data.ts";
import { call, type Problem, problemOf } from "../node_api.ts";
import { announce } from "../parts/announcer.tsx";
import { Dialog } from "../parts/dialog.tsx";
import { Failure } from "../parts/problem.tsx";
import { goTo, links } from "../route.ts";
import { type SubmitFields, submitRequest } from "./submit_request.ts";

interface SubmitProps {
  onClose: () => void;
  /** What the fields begin with: those of an earlier task. */
  initial?: SubmitFields | undefined;
}

/** The fields of `agent submit`. */
export function SubmitDialog({ onClose, initial }: SubmitProps) {
  const form = useRef<HTMLFormElement>(null);
  const problem = useSignal<Problem | undefined>(undefined);
  const isBusy = useSignal(false);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    isBusy.value = true;
    try {
      const fields = Object.fromEntries(new FormData(form.current!)) as unknown as SubmitFields;
      const body = submitRequest(fields);
      const made = await call<{ id: string; task_ids: string[]; existing: boolean }>(
        "POST",
        "/api/tasks",
        { body },
      );
      announce(made.existing ? "The task existed already" : "Submitted");
      onClose();
      if (body.array !== undefined || body.lines !== undefined) {
        goTo(links.tasksWith({ array: made.id }));
      } else goTo(made.task_ids.length > 1 ? links.tasks : links.task(made.id));
    } catch (error) {
      problem.value = problemOf(error);
    } finally {
      isBusy.value = false;
    }
  };
  return (
    <Dialog title="Submit a task" onClose={onClose}>
      <form ref={form} onSubmit={submit} class="submit">
        <CommandFields initial={initial} />
        <div class="columns">
          <Field initial={initial} name="selector" label="Worker labels" hint="gpu=a100 zone=r2" />
          <Field initial={initial} name="resources" label="Resources" hint="gpu=2" />
          <Field initial={initial} name="timeout" label="Timeout" hint="10m or 1h30m" />
          <Field initial={initial} name="retries" label="Retries" hint="0" inputMode="numeric" />
        </div>
        <details open={initial !== undefined}>
          <summary>More</summary>
          <MoreFields initial={initial} />
        </details>
        <footer>
          {problem.value !== undefined && <Failure problem={problem.value} />}
          <button type="button" onClick={onClose}>Close</button>
          <button type="submit" class="primary" disabled={isBusy.value}>Submit</button>
        </footer>
      </form>
    </Dialog>
  );
}

function MoreFields({ initial }: Pick<SubmitProps, "initial">) {
  const known = useId();
  useEffect(() => void loadWorkers(), []);
  return (
    <div class="columns">
      <Field initial={initial} name="worker" label="Worker" hint="any" list={known} />
      <datalist id={known}>
        {workers.value?.map(({ id }) => <option key={id} value={id} />)}
      </datalist>
      <Field initial={initial} name="retry_delay" label="Wait before each retry" hint="30s" />
      <Field
        initial={initial}
        name="max_lost"
        label="Again when lost"
        hint="3, or 0 for never"
        inputMode="numeric"
      />
      <Field initial={initial} name="lost_after" label="Lost after" hint="5m, or never" />
      <Field initial={initial} name="array" label="Array" hint="0-9 or 1,3,5-9%2" />
      <Field initial={initial} name="cwd" label="Folder on the worker" hint="one of its own" />
      <Lines initial={initial} name="env" label="Environment, one per line" hint="NAME=value" />
      <Lines
        initial={initial}
        name="artifacts"
        label="Files to keep, one per line"
        hint="out/**"
      />
      <Lines initial={initial} name="stdin" label="Standard input" hint="nothing" />
      <Lines initial={initial} name="lines" label="A task for each line" hint="its $AGENT_LINE" />
      <Field
        initial={initial}
        name="idempotency_key"
        label="Idempotency key"
        hint="starts nothing twice"
      />
      <div class="checks">
        <Check name="each">Once on every worker that matches</Check>
        <Check name="require_match">Only if a worker has these labels</Check>
      </div>
    </div>
  );
}

function Check({ name, children }: { name: "each" | "require_match"; children: string }) {
  return (
    <label class="check">
      <input type="checkbox" name={name} value="true" />
      <span>{children}</span>
    </label>
  );
}

function CommandFields({ initial }: Pick<SubmitProps, "initial">) {
  const isShell = initial === undefined || initial.shell === "true";
  return (
    <>
      <label>
        Command
        <textarea
          name="command"
          rows={3}
          defaultValue={initial?.command ?? ""}
          required
          autofocus
          spellcheck={false}
          placeholder="./train.sh --epochs 3 > log"
        />
      </label>
      <label class="check">
        <input type="checkbox" name="shell" value="true" defaultChecked={isShell} />
        <span>
          Run by <code>/bin/sh -c</code>{" "}
          <span class="quiet">– otherwise a program and its arguments, quoted as in a shell</span>
        </span>
      </label>
    </>
  );
}

interface FieldProps {
  initial?: SubmitFields | undefined;
  name: keyof SubmitFields;
  label: string;
  hint: string;
}

function Field(
  { initial, name, label, hint, inputMode = "text", list }: FieldProps & {
    inputMode?: "text" | "numeric";
    /** Id of the values that are offered. */
    list?: string;
  },
) {
  return (
    <label>
      {label}
      <input
        name={name}
        defaultValue={initial?.[name] ?? ""}
        inputMode={inputMode}
        list={list}
        placeholder={hint}
        spellcheck={false}
        autocomplete="off"
      />
    </label>
  );
}

function Lines({ initial, name, label, hint }: FieldProps) {
  return (
    <label>
      {label}
      <textarea
        name={name}
        defaultValue={initial?.[name] ?? ""}
        rows={3}
        placeholder={hint}
        spellcheck={false}
      />
    </label>
  );
}

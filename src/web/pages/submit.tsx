import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { call, type Problem, problemOf } from "../node_api.ts";
import { announce } from "../parts/announcer.tsx";
import { Dialog } from "../parts/dialog.tsx";
import { Failure } from "../parts/problem.tsx";
import { goTo, links } from "../route.ts";
import { type SubmitFields, submitRequest } from "./submit_request.ts";

/** The fields of `agent submit`. */
export function SubmitDialog({ onClose }: { onClose: () => void }) {
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
      goTo(body.array === undefined ? links.task(made.id) : links.tasksWith({ array: made.id }));
    } catch (error) {
      problem.value = problemOf(error);
    } finally {
      isBusy.value = false;
    }
  };
  return (
    <Dialog title="Submit a task" onClose={onClose}>
      <form ref={form} onSubmit={submit} class="submit">
        <CommandFields />
        <div class="columns">
          <Field name="selector" label="Worker labels" hint="gpu=a100 zone=r2" />
          <Field name="timeout" label="Timeout" hint="10m or 1h30m" />
          <Field name="retries" label="Retries" hint="0" inputMode="numeric" />
          <Field name="retry_delay" label="Wait before each" hint="30s" />
        </div>
        <details>
          <summary>More</summary>
          <div class="columns">
            <Field name="cwd" label="Folder on the worker" hint="one of its own" />
            <Field name="array" label="Array" hint="0-9: ten tasks" />
            <Field name="max_lost" label="Again when lost" hint="3" inputMode="numeric" />
            <Field name="idempotency_key" label="Idempotency key" hint="starts nothing twice" />
            <Lines name="env" label="Environment, one per line" hint="NAME=value" />
            <Lines name="artifacts" label="Files to keep, one per line" hint="out/**" />
          </div>
        </details>
        {problem.value !== undefined && <Failure problem={problem.value} />}
        <footer>
          <button type="button" onClick={onClose}>Close</button>
          <button type="submit" class="primary" disabled={isBusy.value}>Submit</button>
        </footer>
      </form>
    </Dialog>
  );
}

function CommandFields() {
  return (
    <>
      <label>
        Command
        <textarea
          name="command"
          rows={3}
          required
          autofocus
          spellcheck={false}
          placeholder="./train.sh --epochs 3 > log"
        />
      </label>
      <label class="check">
        <input type="checkbox" name="shell" value="true" checked />
        <span>
          Run by <code>/bin/sh -c</code>{" "}
          <span class="quiet">– otherwise a program and its arguments, quoted as in a shell</span>
        </span>
      </label>
    </>
  );
}

interface FieldProps {
  name: keyof SubmitFields;
  label: string;
  hint: string;
}

function Field(
  { name, label, hint, inputMode = "text" }: FieldProps & { inputMode?: "text" | "numeric" },
) {
  return (
    <label>
      {label}
      <input
        name={name}
        inputMode={inputMode}
        placeholder={hint}
        spellcheck={false}
        autocomplete="off"
      />
    </label>
  );
}

function Lines({ name, label, hint }: FieldProps) {
  return (
    <label>
      {label}
      <textarea name={name} rows={3} placeholder={hint} spellcheck={false} />
    </label>
  );
}

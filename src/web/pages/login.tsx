import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { logIn, session } from "../model/node_data.ts";
import { type Problem, problemOf } from "../node_api.ts";
import { Command } from "../parts/copy.tsx";
import { Failure } from "../parts/problem.tsx";

export function Login() {
  const problem = useSignal<Problem | undefined>(undefined);
  const isBusy = useSignal(false);
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    document.title = "Log in · agent";
    field.current?.focus();
  }, []);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    isBusy.value = true;
    try {
      await logIn(field.current!.value.trim());
    } catch (error) {
      problem.value = problemOf(error);
      field.current?.select();
    } finally {
      isBusy.value = false;
    }
  };
  return (
    <main class="login">
      <h1>Log in to this node</h1>
      {session.value !== undefined && (
        <p role="status">
          Your session has ended: it was not used for a week, or the node’s token was changed.
        </p>
      )}
      <p>
        Run this on the node’s host, and open the address that it prints:
      </p>
      <Command line="agent token url" />
      <form onSubmit={submit}>
        <label>
          Or paste the token
          <input
            ref={field}
            type="password"
            name="token"
            autocomplete="current-password"
            required
            spellcheck={false}
          />
        </label>
        {problem.value !== undefined && <Failure problem={problem.value} />}
        <button type="submit" class="primary" disabled={isBusy.value}>Log in</button>
      </form>
      <p class="quiet">
        <code>agent token show</code> prints the token. Only the user who runs the node can read it.
      </p>
    </main>
  );
}

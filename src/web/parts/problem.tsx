import type { ComponentChildren } from "preact"; // TSX in 4 kB, where React has 60.
import type { Problem } from "../node_api.ts";
import type { UnansweredView } from "../views.ts";
import { Command } from "./copy.tsx";

/** An error where it belongs, with its next step. */
export function Failure({ problem, retry }: { problem: Problem; retry?: () => void }) {
  return (
    <div class="failure" role="alert">
      <p>{problem.message}</p>
      {problem.next !== undefined && <NextStep text={problem.next} />}
      {retry !== undefined && <button type="button" onClick={retry}>Try again</button>}
    </div>
  );
}

/** Says which coordinators are missing in what a page shows. */
export function MissingParts({ of }: { of: UnansweredView[] }) {
  return of.length === 0 ? null : (
    <div class="failure" role="status">
      {of.map(({ coordinator, reason }) => (
        <p key={coordinator}>
          {`The coordinator ${coordinator} does not answer, so its tasks and workers are missing. ${reason}`}
        </p>
      ))}
    </div>
  );
}

/** A step that is a command can be copied. */
export function NextStep({ text }: { text: string }) {
  return /^(agent|sudo|export) [^()]+$/.test(text)
    ? <Command line={text} />
    : <p class="next-step">{text}</p>;
}

/** What stands in place of an empty list: the command that fills it. */
export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <h2>{title}</h2>
      {children}
    </div>
  );
}

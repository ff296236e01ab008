import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { call, type Problem, problemOf } from "../node_api.ts";
import { CopyText } from "../parts/copy.tsx";
import { formatBytes, shortFingerprint } from "../parts/format.ts";
import { Failure } from "../parts/problem.tsx";
import { isFinished } from "../parts/state.tsx";
import { TableHead } from "../parts/table_head.tsx";
import type { ArtifactView, TaskView } from "../views.ts";

function inPath(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}

/** Files that the task left, to download. */
export function Artifacts({ task }: { task: TaskView }) {
  const files = useSignal<ArtifactView[] | undefined>(undefined);
  const problem = useSignal<Problem | undefined>(undefined);
  const keepsNone = task.spec.artifacts.length === 0;
  const path = `/api/tasks/${encodeURIComponent(task.id)}/artifacts`;
  const load = async () => {
    try {
      files.value = (await call<{ artifacts: ArtifactView[] }>("GET", path)).artifacts;
      problem.value = undefined;
    } catch (error) {
      problem.value = problemOf(error);
    }
  };
  useEffect(() => {
    if (!keepsNone) load();
  }, [task.state, task.attempts.length]);
  if (keepsNone) return null;
  return (
    <section>
      <h2>Artifacts</h2>
      {problem.value !== undefined && <Failure problem={problem.value} retry={load} />}
      {files.value?.length === 0 && (
        <p class="quiet">
          {isFinished(task.state)
            ? `No file matched ${task.spec.artifacts.join(" ")}.`
            : "They are kept when the attempt ends."}
        </p>
      )}
      {files.value !== undefined && files.value.length > 0 && (
        <table role="table" class="cards">
          <TableHead columns={["File", "Size", "SHA-256", "Attempt"]} />
          <tbody role="rowgroup">
            {files.value.map((file) => (
              <tr role="row" key={`${file.attempt} ${file.path}`}>
                <th scope="row" role="rowheader">
                  <a
                    href={`${path}/${inPath(file.path)}?attempt=${file.attempt}`}
                    download
                  >
                    {file.path}
                  </a>
                </th>
                <td role="cell" data-label="Size">{formatBytes(file.size)}</td>
                <td role="cell" data-label="SHA-256">
                  <CopyText
                    short={shortFingerprint(file.sha256)}
                    text={file.sha256}
                    label={`SHA-256 of ${file.path}`}
                  />
                </td>
                <td role="cell" data-label="Attempt">{file.attempt}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

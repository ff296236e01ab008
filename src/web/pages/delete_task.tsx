import { call } from "../node_api.ts";
import { announce } from "../parts/announcer.tsx";
import { Confirm } from "../parts/dialog.tsx";
import { goTo, links } from "../route.ts";

interface DeleteProps {
  /** Of a task, or of an array. */
  id: string;
  title: string;
  onClose: () => void;
}

/** Asks before a finished task, or an array, is removed; then the list is shown. */
export function DeleteTask({ id, title, onClose }: DeleteProps) {
  const remove = async () => {
    await call("DELETE", `/api/tasks/${encodeURIComponent(id)}`);
    announce("Deleted");
    goTo(links.tasks);
  };
  return (
    <Confirm title={title} action="Delete" run={remove} onClose={onClose}>
      <p>The output and the kept files go with it. This cannot be undone.</p>
    </Confirm>
  );
}

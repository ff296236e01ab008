import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useRef } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { type Problem, problemOf } from "../node_api.ts";
import { Icon } from "./icons.tsx";
import { Failure } from "./problem.tsx";

interface DialogProps {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
}

/** A modal dialog: the browser keeps the focus in it and gives it back, Escape closes it. */
export function Dialog({ title, onClose, children }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useId();
  // A layout effect opens it before the next key press, which belongs to the dialog.
  useLayoutEffect(() => {
    const element = dialog.current!;
    const opener = document.activeElement as HTMLElement | null;
    element.addEventListener("close", onClose);
    element.showModal();
    return () => {
      element.removeEventListener("close", onClose);
      element.close();
      opener?.focus();
    };
  }, []);
  // "close" comes a moment after Escape: the next key press would still find the dialog here.
  const cancel = (event: Event) => {
    event.preventDefault();
    onClose();
  };
  return (
    <dialog ref={dialog} aria-labelledby={heading} onCancel={cancel}>
      <header>
        <h2 id={heading}>{title}</h2>
        <button
          type="button"
          class="bare"
          aria-label="Close"
          onClick={onClose}
        >
          <Icon name="close" />
        </button>
      </header>
      {children}
    </dialog>
  );
}

interface ConfirmProps {
  title: string;
  /** What the button does: "Forget gpu3". */
  action: string;
  run: () => Promise<void>;
  onClose: () => void;
  children: ComponentChildren;
}

/** Asks before something that cannot be undone. */
export function Confirm({ title, action, run, onClose, children }: ConfirmProps) {
  const problem = useSignal<Problem | undefined>(undefined);
  const isBusy = useSignal(false);
  const confirm = async () => {
    isBusy.value = true;
    try {
      await run();
      onClose();
    } catch (error) {
      problem.value = problemOf(error);
    } finally {
      isBusy.value = false;
    }
  };
  return (
    <Dialog title={title} onClose={onClose}>
      {children}
      {problem.value !== undefined && <Failure problem={problem.value} />}
      <footer>
        <button type="button" onClick={onClose}>Keep</button>
        <button type="button" class="danger" disabled={isBusy.value} onClick={confirm}>
          {action}
        </button>
      </footer>
    </Dialog>
  );
}

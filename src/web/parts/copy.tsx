import { useSignal } from "@preact/signals";
import { announce } from "./announcer.tsx";
import { Icon } from "./icons.tsx";

/** Puts a text on the clipboard. */
export function CopyButton({ text, label }: { text: string; label: string }) {
  const isDone = useSignal(false);
  const copy = async () => {
    await copyText(text);
    announce("Copied");
    isDone.value = true;
    setTimeout(() => isDone.value = false, 1500);
  };
  return (
    <button type="button" class="bare copy" aria-label={label} title={label} onClick={copy}>
      <Icon name={isDone.value ? "check" : "copy"} />
    </button>
  );
}

/** A text that is shown in short, and copied in full by a click. */
export function CopyText({ short, text, label }: { short: string; text: string; label: string }) {
  const copy = async () => {
    await copyText(text);
    announce("Copied");
    isDone.value = true;
    setTimeout(() => isDone.value = false, 1500);
  };
  const isDone = useSignal(false);
  return (
    <button
      type="button"
      class="bare copy-text"
      aria-label={`${label} ${short}: copy it in full`}
      title={`${text} – click to copy`}
      onClick={copy}
    >
      <code>{isDone.value ? "copied".padEnd(short.length) : short}</code>
    </button>
  );
}

/** A command to paste, with its button. */
export function Command({ line }: { line: string }) {
  return (
    <span class="command">
      <code>{line}</code>
      <CopyButton text={line} label={`Copy: ${line}`} />
    </span>
  );
}

async function copyText(text: string): Promise<void> {
  // Over plain HTTP from another host there is no clipboard API.
  if (navigator.clipboard !== undefined) return await navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

// Copies a restore command, and says when the page has grown old. Without this script all text is there to be selected.
"use strict";

const said = document.getElementById("copied");

// navigator.clipboard is there on https and localhost only; this page is often read over plain http.
async function copy(text, from) {
  if (navigator.clipboard && window.isSecureContext) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Not allowed: by selecting it, then.
    }
  }
  const range = document.createRange();
  range.selectNodeContents(from);
  const selection = window.getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
  const done = document.execCommand("copy");
  if (done) selection.removeAllRanges();
  return done;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("table.backups button");
  if (!button) return;
  const code = button.closest("tr").querySelector("code");
  const done = await copy(code.textContent, code);
  button.textContent = done ? "Copied" : "Selected";
  said.textContent = done ? `Copied: ${code.textContent}` : "The command is selected: copy it with your keyboard";
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
});

// The buttons do nothing without this script: they are shown by it, each with its backup in its name.
for (const button of document.querySelectorAll("table.backups button")) {
  const id = button.closest("tr").querySelector("code").textContent.split(" ").pop();
  button.setAttribute("aria-label", `Copy the command that restores ${id}`);
}
document.documentElement.classList.add("scripted");

const loaded = Date.now();
setInterval(() => {
  const minutes = Math.floor((Date.now() - loaded) / 60000);
  if (minutes >= 10 && minutes % 10 === 0) {
    document.getElementById("old").textContent = ` · that was ${minutes} minutes ago: reload to see how it stands now`;
  }
}, 60000);

import { announce, fresh } from "./page.js";

const SHOWN = 2000;

export function startCopying(root) {
  for (const button of fresh(root, "[data-copy]", "Copy")) {
    const name = button.textContent;
    let timer;
    button.addEventListener("click", async () => {
      const said = (await copied(button.dataset.copy)) ? "Copied" : "Not copied";
      if (said === "Not copied") selectBeside(button);
      button.textContent = said;
      announce(said === "Copied" ? said : "The browser does not let this page copy: select the text and copy it.");
      clearTimeout(timer);
      timer = setTimeout(() => (button.textContent = name), SHOWN);
    });
  }
}

/** Whether the text is in the clipboard. Pages of http:// have no navigator.clipboard, but for those of localhost. */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copiedAsSelection(text);
  }
}

function copiedAsSelection(text) {
  const before = document.activeElement;
  const area = document.createElement("textarea");
  area.className = "hidden";
  area.value = text;
  document.body.append(area);
  area.focus({ preventScroll: true });
  area.select();
  try {
    return document.execCommand("copy");
  } catch {
    return false;
  } finally {
    area.remove();
    before?.focus({ preventScroll: true });
  }
}

/** What is to be copied by hand, where the page shows it. */
function selectBeside(button) {
  const shown = button.closest(".copy")?.querySelector("code");
  if (shown) getSelection().selectAllChildren(shown);
}

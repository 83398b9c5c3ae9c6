// A form with data-confirm asks before it is sent.
import { fresh } from "./page.js";

export function startConfirming(root) {
  for (const form of fresh(root, "form[data-confirm]", "Confirm")) {
    form.addEventListener("submit", async (event) => {
      if (form.dataset.agreed) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      if (!(await agreed(form.dataset.confirm, event.submitter?.textContent))) return;
      form.dataset.agreed = "yes";
      form.requestSubmit(event.submitter);
      delete form.dataset.agreed;
    }, { capture: true });
  }
}

/** Whether the person says yes. */
export function agreed(question, yes = "Yes") {
  const dialog = document.getElementById("confirm");
  dialog.querySelector("#confirm-text").textContent = question;
  dialog.querySelector("[data-yes]").textContent = yes?.trim() || "Yes";
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

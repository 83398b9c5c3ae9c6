// A form with data-confirm asks before it is sent.
import { fresh } from "./page.js";

export function startConfirming(root) {
  for (const form of fresh(root, "form[data-confirm]", "Confirm")) {
    form.addEventListener("submit", async (event) => {
      if (form.dataset.agreed) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      if (!(await agreed(form.dataset.confirm, event.submitter?.textContent))) return;
      if (!form.isConnected) bringBack(form);
      form.dataset.agreed = "yes";
      form.requestSubmit(event.submitter);
      delete form.dataset.agreed;
    }, { capture: true });
  }
}

/** Whether the person says yes. What pages ask for by themselves waits until then, so that the question's button stays. */
export function agreed(question, yes = "Yes") {
  const dialog = document.getElementById("confirm");
  dialog.querySelector("#confirm-text").textContent = question;
  dialog.querySelector("[data-yes]").textContent = yes?.trim() || "Yes";
  dialog.returnValue = "no";
  dialog.showModal();
  document.body.addEventListener("htmx:beforeRequest", putOff);
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      document.body.removeEventListener("htmx:beforeRequest", putOff);
      resolve(dialog.returnValue === "yes");
    }, { once: true });
  });
}

function putOff(event) {
  event.preventDefault();
}

/** An answer that was under way took the form out of the page: a browser sends only what is in one. */
function bringBack(form) {
  form.hidden = true;
  document.body.append(form);
}

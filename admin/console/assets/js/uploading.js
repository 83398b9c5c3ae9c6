// A form with a file that goes straight to the API, so that files of any size show how far they are; then the form is sent with the
// file's id. Without scripts the form carries the file itself.
import { announce, fresh, headers } from "./page.js";

/** A source that is only read once goes after a day; `data-upload` may name another purpose, whose files stay. */
const KEPT = { purpose: "user_data", "expires_after[anchor]": "created_at", "expires_after[seconds]": "86400" };

export function startUploading(root) {
  for (const form of fresh(root, "form[data-upload]", "Uploading")) {
    const input = form.querySelector("input[type=file]");
    startDrop(form.querySelector("[data-drop]"), input, form);
    form.addEventListener("submit", (event) => {
      if (form.elements.file_id.value || !input.files.length) return;
      event.preventDefault();
      upload(form, input.files[0]);
    });
  }
}

function startDrop(place, input, form) {
  const over = (is) => place.classList.toggle("over", is);
  place.addEventListener("dragover", (event) => {
    event.preventDefault();
    over(true);
  });
  place.addEventListener("dragleave", () => over(false));
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    over(false);
    if (!event.dataTransfer.files.length) return;
    input.files = event.dataTransfer.files;
    form.requestSubmit();
  });
}

function upload(form, file) {
  const body = new FormData();
  const purpose = form.dataset.upload;
  for (const [name, value] of Object.entries(purpose ? { purpose } : KEPT)) body.append(name, value);
  body.append("file", file, file.name);
  const request = new XMLHttpRequest(); // fetch does not tell how much was sent
  request.open("POST", "/v1/files");
  for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
  request.upload.addEventListener("progress", (event) => tell(form, event.loaded, event.total));
  request.addEventListener("load", () => ended(form, request));
  request.addEventListener("error", () => failed(form, "The upload broke off. Try again."));
  busy(form, true);
  tell(form, 0, file.size);
  request.send(body);
}

function tell(form, loaded, total) {
  const state = form.querySelector("[data-upload-state]");
  const percent = total ? Math.floor((100 * loaded) / total) : 0;
  state.hidden = false;
  state.querySelector("progress").value = percent;
  state.querySelector("p").textContent = percent < 100 ? `Uploading: ${percent}%` : "Looking at the file.";
}

function ended(form, request) {
  let answer = {};
  try {
    answer = JSON.parse(request.responseText);
  } catch {
    // A proxy's page: the status says enough.
  }
  if (request.status >= 400) return failed(form, answer.error?.message ?? `The gateway answered ${request.status}.`);
  form.elements.file_id.value = answer.id;
  form.querySelector("input[type=file]").disabled = true; // its bytes are there already
  form.submit();
}

function failed(form, message) {
  busy(form, false);
  form.querySelector("[data-upload-state] p").textContent = message;
  announce(message);
}

function busy(form, is) {
  form.querySelector("button").disabled = is;
  form.setAttribute("aria-busy", String(is));
}

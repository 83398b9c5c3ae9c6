// The token of an invitation stands behind the # of its link, so that no server's log has it; here it goes into the form.
import { fresh } from "./page.js";

export function startInvitation(root) {
  for (const form of fresh(root, "form[data-invitation]", "Invitation")) {
    const token = new URLSearchParams(location.hash.slice(1)).get("token");
    if (!token) continue;
    form.elements.token.value = token;
    form.elements.token.closest(".field").hidden = true;
    history.replaceState(null, "", location.pathname);
  }
}

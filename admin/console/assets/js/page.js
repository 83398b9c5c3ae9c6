// What a page says of itself, and calls of the API by scripts.

export const csrf = () => document.body.dataset.csrf ?? "";
export const project = () => document.body.dataset.project ?? "";

export function announce(text) {
  const place = document.getElementById("announce");
  if (place) place.textContent = text;
}

/** Headers of a call in the name of the page's person and project. */
export function headers(more = {}) {
  return { "x-csrf-token": csrf(), "openai-project": project(), ...more };
}

export class Refused extends Error {
  constructor(status, error) {
    super(error?.message ?? `The gateway answered ${status}.`);
    this.status = status;
    this.param = error?.param;
    this.code = error?.code;
  }
}

/** JSON of the API, or of a page; raises Refused. */
export async function call(method, url, body) {
  const answer = await fetch(url, {
    method,
    headers: headers(body === undefined ? {} : { "content-type": "application/json" }),
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, found.error);
  return found;
}

/** Elements below `root`, root itself included, that were not started yet. */
export function fresh(root, selector, name) {
  const found = [...root.querySelectorAll(selector)];
  if (root.matches?.(selector)) found.push(root);
  return found.filter((each) => {
    const mark = `started${name}`;
    if (each.dataset[mark]) return false;
    each.dataset[mark] = "yes";
    return true;
  });
}

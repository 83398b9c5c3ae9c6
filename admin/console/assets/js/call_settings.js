// The fields of a form that say how a model is called, as the body of a call.

const NUMBERS = { temperature: Number, max_tokens: Number, seed: Number };

export class Unreadable extends Error {
  constructor(name, message) {
    super(message);
    this.name_of_field = name;
  }
}

/** Everything but the messages. Raises Unreadable for JSON that is none, and says so beside its field. */
export function settingsOf(form, model) {
  const body = { model };
  for (const [name, read] of Object.entries(NUMBERS)) {
    const text = form.elements[name]?.value.trim();
    if (text) body[name] = read(text);
  }
  const format = responseFormat(form);
  if (format) body.response_format = format;
  const tools = written(form, "tools", "a list of tools");
  if (tools?.length) body.tools = tools;
  return body;
}

export function systemOf(form) {
  const text = form.elements.system?.value.trim();
  return text ? [{ role: "system", content: text }] : [];
}

function responseFormat(form) {
  const kind = form.elements.format?.value;
  if (!kind || kind === "text") return null;
  if (kind === "json_object") return { type: "json_object" };
  const schema = written(form, "schema", "a JSON schema");
  if (!schema) throw wrong(form, "schema", "Write the JSON schema of the answer.");
  return { type: "json_schema", json_schema: { name: "answer", schema, strict: true } };
}

function written(form, name, what) {
  const field = form.elements[name];
  const text = field?.value.trim();
  mark(field, "");
  if (!text) return null;
  let found;
  try {
    found = JSON.parse(text);
  } catch (error) {
    throw wrong(form, name, `This is not JSON: ${error.message}.`);
  }
  if (name === "tools" && !Array.isArray(found)) throw wrong(form, name, `Write ${what}: [{...}, ...].`);
  return found;
}

function wrong(form, name, message) {
  const field = form.elements[name];
  mark(field, message);
  field.closest("details")?.setAttribute("open", "");
  field.focus();
  return new Unreadable(name, message);
}

/** The message beside its field; an empty one takes it away. */
function mark(field, message) {
  if (!field) return;
  const place = field.closest(".field");
  place.classList.toggle("wrong", Boolean(message));
  field.toggleAttribute("aria-invalid", Boolean(message));
  const help = place.querySelector(".help");
  help.querySelector("strong")?.remove();
  if (!message) return;
  const strong = document.createElement("strong");
  strong.textContent = `${message} `;
  help.prepend(strong);
}

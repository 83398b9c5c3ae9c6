// A call as code that does the same with a key.

const KEY = "TUNEWAY_API_KEY";

export function asPython(origin, body) {
  const lines = Object.entries(body).map(([name, value]) => `    ${name}=${python(value, 1)},\n`).join("");
  return `import os

from openai import OpenAI

client = OpenAI(base_url="${origin}/v1", api_key=os.environ["${KEY}"])
stream = client.chat.completions.create(
${lines}    stream=True,
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
`;
}

export function asCurl(origin, body) {
  const quoted = JSON.stringify(body, null, 2).replaceAll("'", "'\\''");
  return `curl ${origin}/v1/chat/completions \\
  -H "Authorization: Bearer $${KEY}" \\
  -H "Content-Type: application/json" \\
  -d '${quoted}'
`;
}

/** JSON as a Python expression: its strings are Python's, too. */
function python(value, depth) {
  const inner = "    ".repeat(depth + 1), outer = "    ".repeat(depth);
  const many = (open, lines, close) => (lines.length ? `${open}\n${lines.map((each) => `${inner}${each},\n`).join("")}${outer}${close}` : open + close);
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return many("[", value.map((each) => python(each, depth + 1)), "]");
  if (typeof value !== "object") return JSON.stringify(value);
  return many("{", Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}: ${python(each, depth + 1)}`), "}");
}

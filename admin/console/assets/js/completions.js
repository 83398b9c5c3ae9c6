// Chat completions, streamed, in the name of the page's person and project.
import { call, headers } from "./page.js";

export function newAnswer(model) {
  return { model, content: "", tool_calls: [], exchange: null, first: null, total: null, usage: null, error: null, stopped: false };
}

/** Ask; `answer` fills while it comes. Never throws: what went wrong is its `error`, in the API's words. */
export async function complete(body, answer, { signal, onPiece = () => {} } = {}) {
  const started = performance.now();
  const wanted = { ...body, stream: true, stream_options: { include_usage: true } };
  const onDelta = (delta) => {
    answer.first ??= performance.now() - started;
    take(delta, answer, onPiece);
  };
  try {
    const reply = await fetch("/v1/chat/completions", {
      method: "POST",
      headers: headers({ "content-type": "application/json" }),
      body: JSON.stringify(wanted),
      signal,
    });
    answer.exchange = reply.headers.get("x-request-id");
    if (reply.ok) await read(reply.body, answer, onDelta);
    else answer.error = (await reply.json().catch(() => ({}))).error?.message ?? `The gateway answered ${reply.status}.`;
  } catch (error) {
    if (signal?.aborted) answer.stopped = true;
    else answer.error = `The connection broke: ${error.message}`;
  }
  answer.total = performance.now() - started;
  return answer;
}

/** What the log says of an answer: its cost, and usage also where the stream told none. Null where there is no log of it. */
export async function exchangeOf(answer) {
  if (!answer.exchange) return null;
  try {
    return await call("GET", `/v1/exchanges/${encodeURIComponent(answer.exchange)}`);
  } catch {
    return null;
  }
}

async function read(stream, answer, onDelta) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    const events = (rest + (value ?? "")).split("\n\n");
    rest = events.pop();
    for (const event of events) hear(event, answer, onDelta);
    if (done) return;
  }
}

function hear(event, answer, onDelta) {
  const told = event.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("");
  if (!told || told === "[DONE]") return;
  const chunk = JSON.parse(told);
  if (chunk.error) answer.error = chunk.error.message ?? "The stream broke.";
  if (chunk.usage) answer.usage = chunk.usage;
  const delta = chunk.choices?.[0]?.delta;
  if (delta) onDelta(delta);
}

function take(delta, answer, onPiece) {
  const text = delta.content ?? delta.refusal;
  if (text) {
    answer.content += text;
    onPiece(text);
  }
  for (const piece of delta.tool_calls ?? []) {
    const whole = (answer.tool_calls[piece.index ?? 0] ??= { id: "", type: "function", function: { name: "", arguments: "" } });
    if (piece.id) whole.id = piece.id;
    whole.function.name += piece.function?.name ?? "";
    whole.function.arguments += piece.function?.arguments ?? "";
  }
}

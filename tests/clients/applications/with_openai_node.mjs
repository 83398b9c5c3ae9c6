// The conversation with openai-node: its tool runner, and answers that zod parses. Prints one JSON object.
import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const [SYSTEM, ...rest] = JSON.parse(process.argv[2]);
const WISH = rest.pop();
const { BASE_URL, API_KEY, MODEL, STREAM } = process.env;
const stream = STREAM === "1";
const client = new OpenAI({ baseURL: BASE_URL, apiKey: API_KEY, maxRetries: 0 });
const ran = [];
const pieces = [];

const Ticket = z.object({
  order: z.number().int(),
  urgent: z.boolean(),
  summary: z.string(),
  topics: z.array(z.enum(["delivery", "refund"])),
});
const tools = [
  zodFunction({
    name: "order_status",
    description: "Where an order is.",
    parameters: z.object({ order: z.number().int() }),
    function: ({ order }) => {
      ran.push(["order_status", { order }]);
      return `Order ${order} left on Tuesday.`;
    },
  }),
  zodFunction({
    name: "refund_days",
    description: "How long a refund takes.",
    parameters: z.object({ country: z.enum(["France", "Norway"]) }),
    function: ({ country }) => {
      ran.push(["refund_days", { country }]);
      return `Refunds to ${country} take five days.`;
    },
  }),
];

let messages = [{ role: "system", content: SYSTEM }];

async function ask(question) {
  messages.push({ role: "user", content: question });
  const runner = client.chat.completions.runTools({ model: MODEL, messages, tools, stream });
  let count = 0;
  runner.on("content.delta", () => count++);
  const answer = await runner.finalContent();
  if (stream) pieces.push(count);
  messages = [...runner.messages];
  return answer;
}

async function fileTicket() {
  messages.push({ role: "user", content: WISH });
  const call = { model: MODEL, messages, response_format: zodResponseFormat(Ticket, "ticket") };
  const whole = stream
    ? await client.chat.completions.stream(call).finalChatCompletion()
    : await client.chat.completions.parse(call);
  return Ticket.parse(whole.choices[0].message.parsed);
}

const answers = [];
for (const question of rest) answers.push(await ask(question));
const ticket = await fileTicket();
console.log(JSON.stringify({ answers, ran, pieces, ticket }));

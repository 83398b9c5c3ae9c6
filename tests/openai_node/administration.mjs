// What an owner does with openai-node, section by section; prints as sections.mjs does.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import OpenAI, { BadRequestError, NotFoundError, RateLimitError } from "openai";

const { BASE_URL, ADMIN_KEY } = process.env;
const client = new OpenAI({ baseURL: BASE_URL, apiKey: "sk-none", adminAPIKey: ADMIN_KEY, maxRetries: 0 });
const { organization } = client.admin;
const { projects, usage } = organization;
const run = Math.random().toString(16).slice(2, 10);
const call = { model: "echo", messages: [{ role: "user", content: "hello" }], max_tokens: 8 };
const CALL_NANO = 82_000; // tests/openai_sdk/test_organization.py reckons it
const DAY = 86_400;
const midnight = () => Math.floor(Date.now() / 1000 / DAY) * DAY;

const collect = async (pages) => {
  const all = [];
  for await (const each of pages) all.push(each);
  return all;
};
const ids = async (pages) => (await collect(pages)).map((each) => each.id);
const refusal = (promise) =>
  promise.then(
    () => null,
    (error) => error,
  );
const isGone = async (promise) => assert.ok((await refusal(promise)) instanceof NotFoundError);
const until = async (done, what) => {
  for (const deadline = Date.now() + 60_000; !(await done()); await sleep(100)) assert.ok(Date.now() < deadline, what);
};
const asAdmin = { headers: { authorization: `Bearer ${ADMIN_KEY}` } };
const nano = (rows) => rows.reduce((sum, row) => sum + Math.round(row.amount.value * 1e9), 0);
const rows = (page) => page.data.flatMap((bucket) => bucket.results);

const withProject = async (work) => {
  const project = await projects.create({ name: `node ${run}` });
  await work(project);
  assert.equal((await projects.archive(project.id)).status, "archived");
};

const updateKey = (project_id, key, body) =>
  projects.apiKeys.update // openai-node 7
    ? projects.apiKeys.update(key, { project_id, ...body })
    : client.post(`/organization/projects/${project_id}/api_keys/${key}`, { body, ...asAdmin });

const sections = {
  async projects_and_keys() {
    await withProject(async ({ id }) => {
      assert.equal((await projects.update(id, { name: `node's ${run}` })).name, `node's ${run}`);
      assert.ok((await ids(projects.list({ limit: 1 }))).includes(id));
      const account = await projects.serviceAccounts.create(id, { name: "bot" });
      const about = { project_id: id };
      const second = await projects.serviceAccounts.apiKeys.create(account.id, { ...about, name: "second" });
      assert.deepEqual(await ids(projects.apiKeys.list(id, { limit: 1 })), [account.api_key.id, second.id]);
      const changed = await updateKey(id, second.id, { scopes: ["api.model.read"] });
      assert.equal(changed.owner.service_account.id, account.id);
      assert.equal((await projects.apiKeys.retrieve(second.id, about)).redacted_value, changed.redacted_value);
      assert.equal((await projects.apiKeys.delete(second.id, about)).deleted, true);
      await isGone(projects.apiKeys.retrieve(second.id, about));
      assert.equal((await projects.serviceAccounts.update(account.id, { ...about, name: "robot" })).name, "robot");
      assert.equal((await projects.serviceAccounts.delete(account.id, about)).deleted, true);
    });
  },

  async admin_keys() {
    const { adminAPIKeys } = organization;
    const made = await adminAPIKeys.create({ name: `node ${run}` });
    const other = client.withOptions({ adminAPIKey: made.value });
    assert.equal((await other.admin.organization.adminAPIKeys.retrieve(made.id)).id, made.id);
    assert.ok((await ids(adminAPIKeys.list({ limit: 1 }))).includes(made.id));
    assert.equal((await adminAPIKeys.delete(made.id)).deleted, true);
    assert.equal((await refusal(other.admin.organization.projects.list())).status, 401);
  },

  async limits() {
    await withProject(async ({ id }) => {
      const limit = await projects.rateLimits.updateRateLimit("rl-echo", { project_id: id, max_requests_per_1_minute: 7 });
      assert.equal(limit.max_requests_per_1_minute, 7);
      assert.ok((await ids(projects.rateLimits.listRateLimits(id, { limit: 2 }))).includes("rl-echo"));
      const monthly = { threshold_amount: 500, currency: "USD", interval: "month" };
      assert.equal((await projects.spendLimit.update(id, monthly)).threshold_amount, 500);
      assert.equal((await projects.spendLimit.retrieve(id)).enforcement.status, "inactive");
      assert.equal((await projects.spendLimit.delete(id)).deleted, true);
      const notification_channel = { type: "email", recipients: ["owner@example.com"] };
      const alert = await projects.spendAlerts.create(id, { ...monthly, notification_channel });
      assert.deepEqual(await ids(projects.spendAlerts.list(id)), [alert.id]);
      assert.equal((await projects.spendAlerts.delete(alert.id, { project_id: id })).deleted, true);
      const models = { mode: "allow_list", model_ids: ["echo"] };
      assert.deepEqual((await projects.modelPermissions.update(id, models)).model_ids, ["echo"]);
      assert.equal((await projects.modelPermissions.delete(id)).deleted, true);
    });
  },

  async people() {
    await withProject(async ({ id }) => {
      const invite = async (name, role) => {
        const email = `${name}.${run}@example.com`;
        const { invite_url } = await organization.invites.create({ email, role, projects: [{ id, role: "member" }] });
        const token = invite_url.split("#token=")[1];
        await client.post("/invites/accept", { body: { token, name, password: "a long pass phrase" } });
        return (await collect(organization.users.list({ emails: [email] })))[0];
      };
      const boss = await invite("boss", "owner");
      const anna = await invite("anna", "reader");
      assert.deepEqual([boss.role, anna.role], ["owner", "reader"]);
      assert.equal((await organization.users.update(anna.id, { role: "owner" })).role, "owner");
      assert.deepEqual((await ids(projects.users.list(id, { limit: 1 }))).sort(), [anna.id, boss.id].sort());
      assert.equal((await projects.users.update(anna.id, { project_id: id, role: "owner" })).role, "owner");
      assert.equal((await projects.users.delete(anna.id, { project_id: id })).deleted, true);
      assert.equal((await organization.users.delete(anna.id)).deleted, true);
      await isGone(organization.users.retrieve(anna.id));
    });
  },

  async budget_usage_costs_and_audit() {
    await withProject(async ({ id }) => {
      const { api_key: key } = await projects.serviceAccounts.create(id, { name: "bot" });
      const body = { api_key_id: key.id, period: "total", limit_usd: 0.0025 };
      await client.post("/budgets", { body, ...asAdmin });
      const statuses = [];
      const counted = async (...request) => {
        const response = await fetch(...request);
        statuses.push(response.status);
        return response;
      };
      const bot = new OpenAI({ baseURL: BASE_URL, apiKey: key.value, maxRetries: 2, fetch: counted });
      let refused = null;
      while (refused === null) {
        assert.ok(statuses.length < 31, "the budget is overspent");
        refused = await refusal(bot.chat.completions.create(call));
      }
      assert.ok(refused instanceof RateLimitError, String(refused));
      assert.equal(refused.code, "insufficient_quota");
      const calls = statuses.length - 1;
      assert.deepEqual(statuses, [...Array(calls).fill(200), 429]); // asked once: it does not try again what cannot help
      const asked = { start_time: midnight() - DAY, project_ids: [id] };
      await until(async () => rows(await usage.completions(asked))[0]?.num_model_requests === calls, "calls are logged");
      assert.equal(nano(rows(await usage.costs(asked))), calls * CALL_NANO);
      const items = rows(await usage.costs({ ...asked, group_by: ["line_item"] }));
      assert.deepEqual(items.map((row) => row.line_item).sort(), ["echo, cached input", "echo, input", "echo, output"]);
      for (const bucket_width of ["1m", "1h", "1d"]) {
        const pages = [await usage.completions({ ...asked, bucket_width, limit: 1 })];
        while (pages.length < 3 && pages.at(-1).next_page)
          pages.push(await usage.completions({ ...asked, bucket_width, limit: 1, page: pages.at(-1).next_page }));
        assert.deepEqual(pages.map((page) => page.data.length), bucket_width === "1d" ? [1, 1] : [1, 1, 1]);
      }
      const types = (await collect(organization.auditLogs.list({ project_ids: [id], limit: 2 }))).map((each) => each.type);
      assert.deepEqual(types, ["api_key.updated", "api_key.created", "service_account.created", "project.created"]);
    });
  },

  async errors_of_administration() {
    await isGone(projects.retrieve("proj_absent"));
    const unknown = await refusal(organization.groups.list());
    assert.equal(unknown.code, "unknown_url");
    const refused = await refusal(usage.completions({ start_time: 0, group_by: ["colour"] }));
    assert.ok(refused instanceof BadRequestError);
    assert.equal(refused.param, "group_by");
  },
};

for (const section of Object.keys(sections)) {
  const error = await sections[section]().then(
    () => null,
    (error) => String(error?.stack ?? error),
  );
  console.log(JSON.stringify({ section, error }));
}

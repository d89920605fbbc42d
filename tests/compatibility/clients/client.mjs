// One authenticated call by a client library, with its default settings: `client.mjs NAME`; it worked if it exits 0.
import assert from "node:assert";

const USER = "https://api.github.com/user";
const REALTIME = "wss://api.openai.com/v1/realtime?model=none";
const SAID = "nothing of substance";
const env = process.env;
const bearer = (token) => ({ authorization: `Bearer ${token}`, "user-agent": "compatibility" });
const headers = bearer(env.GITHUB_TOKEN);
const keyPair = { accessKeyId: "authsome-proxy-managed", secretAccessKey: "authsome-proxy-managed" };
const messages = [{ role: "user", content: "what?" }];

const greeted = (socket) =>
  new Promise((resolve, reject) => {
    socket.onmessage = ({ data }) => resolve(JSON.parse(data).type);
    socket.onerror = (event) => reject(event.error ?? new Error(event.message));
  }).then((type) => assert.equal(type, "session.created"));

const clients = {
  async openai() {
    const { default: OpenAI } = await import("openai");
    const { completions } = new OpenAI().chat;
    const whole = await completions.create({ model: "none", messages });
    assert.equal(whole.choices[0].message.content, SAID);
    let pieces = "";
    for await (const piece of await completions.create({ model: "none", messages, stream: true }))
      pieces += piece.choices[0].delta.content;
    assert.equal(pieces, SAID);
  },

  async anthropic() {
    const { default: Anthropic } = await import("@anthropic-ai/sdk");
    const client = new Anthropic();
    const message = await client.messages.create({ model: "none", max_tokens: 9, messages });
    assert.equal(message.content[0].text, SAID);
    assert.equal(await client.messages.stream({ model: "none", max_tokens: 9, messages }).finalText(), SAID);
  },

  async octokit() {
    const { Octokit } = await import("@octokit/rest");
    const answer = await new Octokit({ auth: env.GITHUB_TOKEN }).rest.users.getAuthenticated();
    assert.equal(answer.data.login, "ada");
  },

  async slack() {
    const { WebClient } = await import("@slack/web-api");
    assert.equal((await new WebClient(env.SLACK_BOT_TOKEN).auth.test()).user, "ada");
  },

  async stripe() {
    const { default: Stripe } = await import("stripe");
    assert.equal((await new Stripe(env.STRIPE_API_KEY).balance.retrieve()).object, "balance");
  },

  async notion() {
    const { Client } = await import("@notionhq/client");
    assert.equal((await new Client({ auth: env.NOTION_TOKEN }).users.me({})).id, "user-1");
  },

  async aws_s3() {
    const { S3Client, ListBucketsCommand } = await import("@aws-sdk/client-s3");
    await new S3Client({ region: "us-east-1", credentials: keyPair }).send(new ListBucketsCommand({}));
  },

  async aws_s3_token() {
    const { S3Client, ListBucketsCommand } = await import("@aws-sdk/client-s3");
    const token = bearer(env.OBJECTS_TOKEN);
    const signer = { sign: async (request) => Object.assign(request, { headers: { ...request.headers, ...token } }) };
    const there = { region: "us-east-1", credentials: keyPair, endpoint: "https://objects.example.com", signer };
    const answer = await new S3Client(there).send(new ListBucketsCommand({}));
    assert.equal(answer.Buckets[0].Name, "engine");
  },

  async fetch() {
    assert.equal((await fetch(USER, { headers })).status, 200);
  },

  async https() {
    const https = await import("node:https");
    const answer = await new Promise((resolve, reject) => https.get(USER, { headers }, resolve).on("error", reject));
    assert.equal(answer.statusCode, 200);
  },

  async undici() {
    const { request } = await import("undici");
    assert.equal((await request(USER, { headers })).statusCode, 200);
  },

  async undici_env_agent() {
    const { EnvHttpProxyAgent, request } = await import("undici");
    assert.equal((await request(USER, { headers, dispatcher: new EnvHttpProxyAgent() })).statusCode, 200);
  },

  async axios() {
    const { default: axios } = await import("axios");
    assert.equal((await axios.get(USER, { headers })).status, 200);
  },

  async got() {
    const { default: got } = await import("got");
    assert.equal((await got(USER, { headers })).statusCode, 200);
  },

  async node_fetch() {
    const { default: fetch } = await import("node-fetch");
    assert.equal((await fetch(USER, { headers })).status, 200);
  },

  async ws() {
    const { WebSocket } = await import("ws");
    await greeted(new WebSocket(REALTIME, { headers: bearer(env.OPENAI_API_KEY) }));
  },

  async websocket() {
    await greeted(new WebSocket(REALTIME, { headers: bearer(env.OPENAI_API_KEY) }));
  },

  async grpc_js() {
    const { default: grpc } = await import("@grpc/grpc-js");
    const client = new grpc.Client("grpc.googleapis.com:443", grpc.credentials.createSsl());
    const metadata = new grpc.Metadata();
    metadata.set("authorization", `Bearer ${env.GOOGLE_TOKEN}`);
    const same = (bytes) => bytes;
    const call = [same, same, Buffer.from("back"), metadata, { deadline: Date.now() + 15_000 }];
    const once = await new Promise((resolve, reject) =>
      client.makeUnaryRequest("/compatibility.Echo/Once", ...call, (error, answer) =>
        error ? reject(error) : resolve(answer),
      ),
    );
    assert.equal(`${once}`, "back");
    const all = [];
    const stream = client.makeServerStreamRequest("/compatibility.Echo/Thrice", ...call);
    for await (const answer of stream) all.push(`${answer}`);
    assert.deepEqual(all, ["back", "back", "back"]);
  },
};

try {
  await clients[process.argv[2]]();
  process.exit(0);
} catch (error) {
  console.error(error, error.cause ?? "");
  process.exit(1);
}

// Worker: Cloudflare's OAuth library in front of a real MCP server (the official SDK).
// "wop" is aliased at bundle time to one version of @cloudflare/workers-oauth-provider.
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { WebStandardStreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/webStandardStreamableHttp.js';
import { OAuthProvider } from 'wop';
import { z } from 'zod';

const knobs = { token_delay_ms: 0, fail_next_token: 0 };
const stats = { registrations: 0, codes: 0, refreshes: 0, refresh_refused: 0, device: 0, revoked: 0, api_ok: 0, api_401: 0 };
const seen = []; // facts about each request, without secrets

const html = (body, status = 200) => new Response(`<!doctype html><meta charset=utf-8><title>Authorize</title>${body}`,
  { status, headers: { 'content-type': 'text/html; charset=utf-8' } });
const escape = (text) => String(text ?? '').replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const pack = (value) => btoa(encodeURIComponent(JSON.stringify(value)));
const unpack = (text) => JSON.parse(decodeURIComponent(atob(text)));

// The page that the library leaves to the application: one form, Allow and Deny.
async function authorize(request, env) {
  const url = new URL(request.url);
  if (url.pathname !== '/authorize') return html('<p>not here</p>', 404);
  if (request.method === 'GET') {
    let asked;
    try {
      asked = await env.OAUTH_PROVIDER.parseAuthRequest(request);
    } catch (error) {
      return error.redirectTo ? Response.redirect(error.redirectTo, 302) : html(`<p id=error>${escape(error.message)}</p>`, 400);
    }
    const client = await env.OAUTH_PROVIDER.lookupClient(asked.clientId);
    if (!client) return html('<p id=error>Invalid client</p>', 400);
    return html(`<h1>Allow ${escape(client.clientName)} to connect?</h1><p>Scopes: ${escape(asked.scope)}</p>
      <form method=post action=/authorize><input type=hidden name=request value="${escape(pack(asked))}">
      <label>Sign in as <input name=login value="${escape(url.searchParams.get('login_hint'))}"></label>
      <button name=decision value=allow id=allow>Allow</button>
      <button name=decision value=deny id=deny>Deny</button></form>`);
  }
  const form = await request.formData();
  const asked = unpack(form.get('request'));
  if (form.get('decision') === 'deny') {
    const back = new URL(asked.redirectUri);
    back.searchParams.set('error', 'access_denied');
    if (asked.state) back.searchParams.set('state', asked.state);
    return Response.redirect(back.href, 302);
  }
  const user = form.get('login') || 'alice';
  const { redirectTo } = await env.OAUTH_PROVIDER.completeAuthorization({
    // codes and tokens of this library begin with the user's id
    request: asked, userId: env.TOKEN_PREFIX + user, metadata: { label: user }, scope: asked.scope, props: { user, clientId: asked.clientId },
  });
  return Response.redirect(redirectTo, 302);
}

// /mcp: a stateless Streamable HTTP MCP server with one tool that tells who is calling; /mcp/plain tells it as JSON.
async function mcp(request, _env, ctx) {
  stats.api_ok += 1;
  if (new URL(request.url).pathname === '/mcp/plain') return Response.json(ctx.props);
  const server = new McpServer({ name: 'cloudflare-mcp', version: '1' });
  server.registerTool('whoami', { description: 'who holds the token', inputSchema: { note: z.string().optional() } },
    async ({ note }) => ({ content: [{ type: 'text', text: JSON.stringify({ ...ctx.props, note: note ?? null }) }] }));
  const transport = new WebStandardStreamableHTTPServerTransport({ sessionIdGenerator: undefined, enableJsonResponse: true });
  await server.connect(transport);
  return transport.handleRequest(request);
}

const calls = {
  stats: () => stats,
  seen: () => seen,
  set: async (request) => Object.assign(knobs, await request.json()),
  async forget(_request, env) { // every registered client, as if it had expired
    const { keys } = await env.OAUTH_KV.list({ prefix: 'client:' });
    for (const key of keys) await env.OAUTH_KV.delete(key.name);
  },
  async reset(request, env) {
    Object.assign(knobs, { token_delay_ms: 0, fail_next_token: 0 });
    for (const name of Object.keys(stats)) stats[name] = 0;
    seen.length = 0;
    await calls.forget(request, env);
  },
};

function count(path, request, form, answer) {
  const ok = answer.status < 300;
  const grant = form?.get('grant_type') ?? undefined;
  if (path === '/register' && ok) stats.registrations += 1;
  if (path === '/token' && grant === 'authorization_code' && ok) stats.codes += 1;
  if (path === '/token' && grant === 'refresh_token') stats[ok ? 'refreshes' : 'refresh_refused'] += 1;
  if (path === '/token' && !grant && ok) stats.revoked += 1;
  if (path.startsWith('/mcp') && answer.status === 401) stats.api_401 += 1;
  seen.push({
    method: request.method, path, status: answer.status, grant,
    auth: form ? (request.headers.has('authorization') ? 'basic' : form.has('client_secret') ? 'post' : 'none') : undefined,
    client: form?.get('client_id') ?? undefined, resource: form?.get('resource') ?? undefined, scope: form?.get('scope') ?? undefined,
  });
}

let provider;
function open(env, origin) {
  return new OAuthProvider({
    apiRoute: '/mcp', apiHandler: { fetch: mcp }, defaultHandler: { fetch: authorize },
    authorizeEndpoint: '/authorize', tokenEndpoint: '/token', clientRegistrationEndpoint: '/register',
    accessTokenTTL: +env.ACCESS_TTL, refreshTokenTTL: +env.REFRESH_TTL,
    resourceMetadata: { resource: `${origin}/mcp`, authorization_servers: [origin] },
  });
}

export default {
  async fetch(request, env, ctx) {
    const url = new URL(request.url);
    if (url.pathname.startsWith('/ctl/')) return Response.json((await calls[url.pathname.slice(5)](request, env)) ?? null);
    const origin = env.ORIGIN || url.origin;
    provider ??= open(env, origin);
    if (url.pathname === '/token') {
      if (knobs.token_delay_ms) await scheduler.wait(knobs.token_delay_ms);
      const status = knobs.fail_next_token;
      knobs.fail_next_token = 0;
      if (status) return Response.json({ error: status === 400 ? 'invalid_grant' : 'temporarily_unavailable' }, { status });
    }
    // behind a TLS front the library must see its public URL
    const inner = origin === url.origin ? request : new Request(origin + url.pathname + url.search, request);
    const form = url.pathname === '/token' && request.method === 'POST' ? await inner.clone().formData().catch(() => undefined) : undefined;
    const answer = await provider.fetch(inner, env, ctx);
    count(url.pathname, request, form, answer);
    return answer;
  },
};

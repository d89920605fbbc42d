// A real authorization server (oidc-provider) and an API that it protects, on one loopback port.
//
//   node server.mjs [--port 0] [--origin https://login.example.com] [--tls-dir DIR] [--auto]
//                   [--access-ttl 300] [--refresh-ttl 3600] [--keep-refresh-token] [--require-offline-access]
//                   [--token-prefix TEXT]
//
// --origin        its public URL, when a TLS front stands before it (which must send X-Forwarded-Proto)
// --auto          signs in and consents without a page; otherwise oidc-provider's own pages are served
// --token-prefix  every secret it makes starts with TEXT, so that a leak can be searched for
//
// GET /api/… answers who is calling; its bearer token is checked by introspection over HTTP (RFC 7662).
// Static clients: "cli-public" (none) and "cli-secret" / "cli-secret-value"; others register at /reg (RFC 7591).
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import path from 'node:path';
import { parseArgs } from 'node:util';
import Provider from 'oidc-provider';
import { control, say } from '../control.mjs';

const { values: opt } = parseArgs({ options: {
  port: { type: 'string', default: '0' },
  origin: { type: 'string' },
  'tls-dir': { type: 'string' },
  auto: { type: 'boolean', default: false },
  'access-ttl': { type: 'string', default: '300' },
  'refresh-ttl': { type: 'string', default: '3600' },
  'keep-refresh-token': { type: 'boolean', default: false },
  'require-offline-access': { type: 'boolean', default: false },
  'token-prefix': { type: 'string', default: '' },
} });

const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code';
const atStart = { access_ttl: +opt['access-ttl'], token_delay_ms: 0, fail_next_token: 0 };
const knobs = { ...atStart };
const stats = { registrations: 0, codes: 0, refreshes: 0, refresh_refused: 0, device: 0, revoked: 0, api_ok: 0, api_401: 0 };
const seen = []; // facts about each request to a protocol endpoint, without secrets
const registered = new Set();

// The port is taken first: the issuer must name it.
const tls = opt['tls-dir'] && Object.fromEntries(['ca.pem', 'server.pem', 'server.key']
  .map((name) => [name, fs.readFileSync(path.join(opt['tls-dir'], name))]));
const server = tls ? https.createServer({ cert: tls['server.pem'], key: tls['server.key'] }) : http.createServer();
await new Promise((listening) => { server.listen(+opt.port, '127.0.0.1', listening); });
const local = `${tls ? 'https' : 'http'}://127.0.0.1:${server.address().port}`;
const issuer = opt.origin ?? local;

const resourceServer = { id: 'resource-server', secret: randomBytes(16).toString('hex') };
const native = {
  application_type: 'native', // any loopback port
  grant_types: ['authorization_code', 'refresh_token', DEVICE_GRANT],
  response_types: ['code'],
  redirect_uris: ['127.0.0.1', 'localhost'].flatMap((host) => ['/callback', '/auth/callback/oauth'].map((p) => `http://${host}${p}`)),
};

const provider = new Provider(issuer, {
  clients: [
    { client_id: 'cli-public', token_endpoint_auth_method: 'none', ...native },
    { client_id: 'cli-secret', client_secret: 'cli-secret-value', ...native },
    { client_id: resourceServer.id, client_secret: resourceServer.secret, grant_types: [], response_types: [], redirect_uris: [] },
  ],
  cookies: { keys: [randomBytes(16).toString('hex')] },
  scopes: ['openid', 'offline_access', 'profile', 'email', 'read', 'write'],
  claims: { openid: ['sub'], profile: ['name'], email: ['email'] },
  findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id, name: id, email: `${id}@example.test` }) }),
  pkce: { required: () => true },
  rotateRefreshToken: !opt['keep-refresh-token'],
  issueRefreshToken: async (_ctx, client, source) => client.grantTypeAllowed('refresh_token')
    && (!opt['require-offline-access'] || source.scopes.has('offline_access')),
  ttl: {
    AccessToken: () => knobs.access_ttl,
    RefreshToken: () => +opt['refresh-ttl'],
    AuthorizationCode: 60, DeviceCode: 120, IdToken: 600, Interaction: 600, Session: 3600, Grant: 86400,
  },
  features: {
    devInteractions: { enabled: !opt.auto },
    deviceFlow: { enabled: true },
    introspection: { enabled: true, allowedPolicy: async () => true },
    revocation: { enabled: true },
    registration: { enabled: true, secretFactory: () => opt['token-prefix'] + randomBytes(32).toString('base64url') },
    registrationManagement: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      useGrantedResource: () => true,
      getResourceServerInfo: (_ctx, resource) => ({
        audience: resource, scope: 'read write', accessTokenFormat: 'opaque', accessTokenTTL: knobs.access_ttl,
      }),
    },
  },
  ...(opt.auto && { interactions: { url: (_ctx, interaction) => `/auto/${interaction.uid}` } }),
});
provider.proxy = Boolean(opt.origin);
provider.on('server_error', (_ctx, error) => console.error(error));
for (const kind of ['AccessToken', 'RefreshToken', 'AuthorizationCode', 'DeviceCode', 'RegistrationAccessToken']) {
  const { generateTokenId } = provider[kind].prototype;
  provider[kind].prototype.generateTokenId = function prefixed() { return opt['token-prefix'] + generateTokenId.call(this); };
}

provider.use(async (ctx, next) => {
  await next();
  const form = ctx.oidc?.body ?? {};
  const ok = ctx.status < 300;
  // RFC 8628's polling interval is no option of oidc-provider; a test need not wait five seconds.
  if (ctx.path === '/device/auth' && ctx.body?.device_code) ctx.body = { ...ctx.body, interval: 1 };
  if (ctx.path === '/reg' && ctx.status === 201) {
    stats.registrations += 1;
    registered.add(ctx.body.client_id);
  }
  if (ctx.path === '/token/revocation' && ok) stats.revoked += 1;
  if (ctx.path === '/token') {
    if (form.grant_type === 'refresh_token') stats[ok ? 'refreshes' : 'refresh_refused'] += 1;
    if (form.grant_type === 'authorization_code' && ok) stats.codes += 1;
    if (form.grant_type === DEVICE_GRANT && ok) stats.device += 1;
  }
  const auth = ctx.get('authorization') ? 'basic' : form.client_secret ? 'post' : 'none';
  seen.push({ method: ctx.method, path: ctx.path, status: ctx.status, grant: form.grant_type, auth,
    client: ctx.oidc?.client?.clientId, resource: form.resource ?? ctx.query.resource, scope: form.scope ?? ctx.query.scope, error: ctx.body?.error });
});

// --auto: sign in as login_hint (or alice) and grant all that was asked for.
async function consent(req, res) {
  const { prompt, params, session, grantId } = await provider.interactionDetails(req, res);
  if (prompt.name === 'login') {
    return provider.interactionFinished(req, res, { login: { accountId: params.login_hint || 'alice' } });
  }
  const grant = grantId ? await provider.Grant.find(grantId)
    : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  const { missingOIDCScope, missingOIDCClaims, missingResourceScopes } = prompt.details;
  if (missingOIDCScope) grant.addOIDCScope(missingOIDCScope.join(' '));
  if (missingOIDCClaims) grant.addOIDCClaims(missingOIDCClaims);
  for (const [resource, scopes] of Object.entries(missingResourceScopes ?? {})) grant.addResourceScope(resource, scopes.join(' '));
  return provider.interactionFinished(req, res, { consent: { grantId: await grant.save() } }, { mergeWithLastSubmission: true });
}

// The API asks the introspection endpoint over the wire, as a stranger would.
function introspect(token) {
  const options = {
    method: 'POST', auth: `${resourceServer.id}:${resourceServer.secret}`, ca: tls?.['ca.pem'],
    headers: { 'content-type': 'application/x-www-form-urlencoded', 'x-forwarded-proto': new URL(issuer).protocol.slice(0, -1) },
  };
  return new Promise((resolve, reject) => {
    const req = (tls ? https : http).request(`${local}/token/introspection`, options, (res) => {
      let text = '';
      res.on('data', (chunk) => { text += chunk; });
      res.on('end', () => { try { resolve(JSON.parse(text)); } catch (error) { reject(error); } });
    });
    req.on('error', reject);
    req.end(new URLSearchParams({ token }).toString());
  });
}

const json = (res, status, body, headers = {}) => {
  res.writeHead(status, { 'content-type': 'application/json', ...headers });
  res.end(JSON.stringify(body));
};

async function api(req, res) {
  const token = /^Bearer (.+)$/i.exec(req.headers.authorization ?? '')?.[1];
  const found = token ? await introspect(token) : { active: false };
  stats[found.active ? 'api_ok' : 'api_401'] += 1;
  if (!found.active) {
    return json(res, 401, { error: 'invalid_token' }, { 'www-authenticate': `Bearer realm="api"${token ? ', error="invalid_token"' : ''}` });
  }
  const { sub, client_id, scope, aud, exp } = found;
  return json(res, 200, { sub, client_id, scope, aud, exp, path: req.url });
}

const pages = provider.callback();
async function route(req, res) {
  const { pathname } = new URL(req.url, issuer);
  if (pathname.startsWith('/api/')) return api(req, res);
  if (pathname.startsWith('/auto/')) return consent(req, res);
  if (pathname === '/token') {
    if (knobs.token_delay_ms) await new Promise((done) => { setTimeout(done, knobs.token_delay_ms); });
    const status = knobs.fail_next_token;
    knobs.fail_next_token = 0;
    if (status) return json(res, status, { error: status === 400 ? 'invalid_grant' : 'temporarily_unavailable' });
  }
  return pages(req, res);
}
server.on('request', (req, res) => Promise.resolve(route(req, res)).catch((error) => {
  console.error(error);
  if (!res.headersSent) json(res, 500, { error: String(error) });
}));

const calls = {
  stats: () => stats,
  seen: () => seen,
  set: (wanted) => Object.assign(knobs, wanted),
  async forget() {
    for (const id of registered) await provider.Client.adapter.destroy(id);
    registered.clear();
  },
  async reset() {
    Object.assign(knobs, atStart);
    for (const name of Object.keys(stats)) stats[name] = 0;
    seen.length = 0;
    await calls.forget();
  },
};
control(calls);
say({ ready: issuer, local });

// Cloudflare's workers-oauth-provider, the software behind mcp.notion.com and many remote MCP servers,
// under workerd through miniflare, on one loopback port.
//
//   node server.mjs [--port 0] [--lib 1|0_4|0_0_13|0_0_5] [--origin https://mcp.notion.com] [--tls-dir DIR]
//                   [--access-ttl 3600] [--refresh-ttl 86400] [--token-prefix TEXT]
//
// --origin        its public URL, when a TLS front stands before it
// --access-ttl    60 at least: Workers KV accepts no shorter expiry
// --token-prefix  every code and token starts with TEXT, so that a leak can be searched for
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { build, stop } from 'esbuild';
import { Miniflare } from 'miniflare';
import { control, say } from '../control.mjs';

const { values: opt } = parseArgs({ options: {
  port: { type: 'string', default: '0' },
  lib: { type: 'string', default: '1' },
  origin: { type: 'string', default: '' },
  'tls-dir': { type: 'string' },
  'access-ttl': { type: 'string', default: '3600' },
  'refresh-ttl': { type: 'string', default: '86400' },
  'token-prefix': { type: 'string', default: '' },
} });
const here = import.meta.dirname;
const lib = opt.lib === '1' ? '@cloudflare/workers-oauth-provider' : `wop-${opt.lib}`;
const pem = (name) => (opt['tls-dir'] ? fs.readFileSync(path.join(opt['tls-dir'], name), 'utf8') : undefined);

const bundle = await build({
  entryPoints: [path.join(here, 'worker.js')], absWorkingDir: here, bundle: true, write: false, format: 'esm', target: 'es2022',
  conditions: ['workerd', 'worker', 'browser'], external: ['cloudflare:*', 'node:*'], alias: { wop: lib }, logLevel: 'error',
});
await stop(); // the bundler's own process
const miniflare = new Miniflare({
  host: '127.0.0.1', port: +opt.port, modules: true, script: bundle.outputFiles[0].text,
  compatibilityDate: '2026-01-01', compatibilityFlags: ['nodejs_compat', 'global_fetch_strictly_public'],
  kvNamespaces: ['OAUTH_KV'], httpsCert: pem('server.pem'), httpsKey: pem('server.key'),
  bindings: { ORIGIN: opt.origin, ACCESS_TTL: opt['access-ttl'], REFRESH_TTL: opt['refresh-ttl'], TOKEN_PREFIX: opt['token-prefix'] },
});
const local = (await miniflare.ready).origin;

const worker = (name) => async (argument) => {
  const answer = await miniflare.dispatchFetch(`${local}/ctl/${name}`, { method: 'POST', body: JSON.stringify(argument ?? null) });
  return answer.json();
};
control(Object.fromEntries(['stats', 'seen', 'set', 'forget', 'reset'].map((name) => [name, worker(name)])), () => miniflare.dispose());
say({ ready: opt.origin || local, local });

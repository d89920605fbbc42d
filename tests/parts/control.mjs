// The tests' line to a server: one JSON request a line on stdin, one JSON answer a line on stdout.
// It crosses network namespaces, and the server ends when the tests do, because stdin closes.
import readline from 'node:readline';

export const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

// calls: { name: async (argument) => answer }
export function control(calls, stop = () => {}) {
  const lines = readline.createInterface({ input: process.stdin });
  lines.on('line', async (line) => {
    try {
      const { call, argument } = JSON.parse(line);
      say({ answer: (await calls[call](argument)) ?? null });
    } catch (error) {
      say({ error: String(error) });
    }
  });
  lines.on('close', async () => {
    await stop();
    process.exit(0);
  });
}

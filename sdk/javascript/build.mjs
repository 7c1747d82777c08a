// node build.mjs AGENT.js AGENT.wasm: the agent and caxton.js as one component, without HTTP and files.
// componentize-js is found from here, or in the folder that CAXTON_NODE_MODULES names.
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const [source, target] = process.argv.slice(2);
if (!target) {
  console.error('node build.mjs AGENT.js AGENT.wasm');
  process.exit(2);
}
const here = dirname(fileURLToPath(import.meta.url));
const modules = process.env.CAXTON_NODE_MODULES;
const name = '@bytecodealliance/componentize-js';
const { componentize } = await import(modules ? pathToFileURL(join(modules, name, 'src/componentize.js')) : name);

// side by side: the agent imports './caxton.js' wherever it lies
const folder = await mkdtemp(join(tmpdir(), 'caxton-'));
try {
  const agent = join(folder, basename(source));
  await copyFile(source, agent);
  await copyFile(join(here, 'caxton.js'), join(folder, 'caxton.js'));
  const { component } = await componentize({
    sourcePath: agent,
    witPath: process.env.CAXTON_WIT ?? resolve(here, '../../wit'),
    worldName: 'agent',
    disableFeatures: ['http', 'fetch-event'],
  });
  await writeFile(target, component);
} finally {
  await rm(folder, { recursive: true });
}

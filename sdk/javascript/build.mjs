// node build.mjs AGENT.js AGENT.wasm: the agent, the modules that it imports by './', and caxton.js as one component,
// without HTTP and files. componentize-js is found from here, or in the folder that CAXTON_NODE_MODULES names.
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative, resolve } from 'node:path';
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

const SDK = './caxton.js'; // an agent imports it so wherever it lies
const IMPORT = /\b(?:from|import)\s*\(?\s*['"](\.\.?\/[^'"]+)['"]/g;

// Copies the module and all that it imports; an agent's own modules lie in its folder or below.
async function copy(path, root, folder, copied = new Set()) {
  if (copied.has(path)) return;
  copied.add(path);
  const place = relative(root, path);
  if (place.startsWith('..')) throw new Error(`${path} is outside of ${root}: bundle the agent into one file first`);
  const into = join(folder, place);
  await mkdir(dirname(into), { recursive: true });
  const text = await readFile(path, 'utf8');
  await writeFile(into, text);
  for (const [, imported] of text.matchAll(IMPORT)) {
    if (imported === SDK) await copyFile(join(here, 'caxton.js'), join(dirname(into), 'caxton.js'));
    else await copy(resolve(dirname(path), imported), root, folder, copied);
  }
}

const folder = await mkdtemp(join(tmpdir(), 'caxton-'));
try {
  const entry = resolve(source);
  await copy(entry, dirname(entry), folder);
  const { component } = await componentize({
    sourcePath: join(folder, basename(entry)),
    witPath: process.env.CAXTON_WIT ?? resolve(here, '../../wit'),
    worldName: 'agent',
    disableFeatures: ['http', 'fetch-event'],
  });
  await writeFile(target, component);
} catch (error) {
  console.error(error.code === 'ENOENT' ? `${error.path} is imported and is not there` : (error.message ?? error));
  process.exitCode = 1;
} finally {
  await rm(folder, { recursive: true });
}

// node build.mjs AGENT.js AGENT.wasm: the agent, the modules that it imports by './', and caxton.js as one component,
// without HTTP and files. componentize-js is found from here, or in the folder that CAXTON_NODE_MODULES names.
import { spawnSync } from 'node:child_process';
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
async function copy(path, root, folder) {
  if (texts.has(path)) return;
  const place = relative(root, path);
  if (place.startsWith('..')) throw new Error(`${path} is outside of ${root}: bundle the agent into one file first`);
  const into = join(folder, place);
  await mkdir(dirname(into), { recursive: true });
  const text = await readFile(path, 'utf8');
  texts.set(path, text);
  await writeFile(into, text);
  for (const [, imported] of text.matchAll(IMPORT)) {
    if (imported === SDK) await copyFile(join(here, 'caxton.js'), join(dirname(into), 'caxton.js'));
    else await copy(resolve(dirname(path), imported), root, folder);
  }
}

// What is wrong, as node tells it: componentize-js only counts mistakes.
function mistakes(texts) {
  const found = [];
  for (const [path, text] of texts) {
    const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '--check', '-'], { input: text, encoding: 'utf8' });
    if (status) found.push(stderr.replace('[stdin]', path).split('\n    at ')[0]);
  }
  return found;
}

const texts = new Map();
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
  const missing = error.code === 'ENOENT' && error.syscall === 'open';
  console.error(missing ? `${error.path} is imported and is not there` : [...mistakes(texts), error.message ?? error].join('\n'));
  process.exitCode = 1;
} finally {
  await rm(folder, { recursive: true });
}

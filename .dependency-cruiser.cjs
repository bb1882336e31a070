// The import rules of docs/architecture.md: each folder of src/ may import the folders of
// its row, through their index.ts, and nothing else of src/.
const rows = {
  base: [],
  config: ['base'],
  linux: ['base'],
  gen: [],
  oci: ['base', 'linux'],
  cni: ['base', 'linux'],
  csi: ['base', 'linux', 'gen'],
  pods: ['base', 'linux', 'oci', 'cni'],
  streaming: ['base', 'pods'],
  nri: ['base', 'linux', 'gen', 'oci', 'pods'],
  cri: ['base', 'gen', 'pods', 'oci', 'streaming'],
  admin: ['base', 'oci', 'pods', 'csi'],
  agent: ['base', 'gen', 'csi'],
  cli: ['base', 'gen', 'config', 'linux'],
};

const forbidden = Object.entries(rows).map(([folder, allowed]) => ({
  name: `${folder}-imports`,
  comment: `src/${folder} may import ${allowed.join(', ') || 'nothing of src'}`,
  severity: 'error',
  from: { path: `^src/${folder}/` },
  to: { path: '^src/', pathNot: `^src/(${[folder, ...allowed].join('|')})/` },
}));

module.exports = {
  forbidden: [
    ...forbidden,
    {
      name: 'through-the-index',
      comment: 'other folders are imported through their index.ts (generated code has none)',
      severity: 'error',
      from: { path: '^src/([^/]+)/' },
      to: {
        path: '^src/[^/]+/',
        pathNot: [
          '^src/$1/',
          '^src/gen/',
          '^src/[^/]+/index[.]ts$',
          // What threads that start often need of a folder: see linux/files.ts.
          '^src/base/errors[.]ts$',
          '^src/linux/files[.]ts$',
          '^src/oci/[^/]+/index[.]ts$',
          '^src/cni/[^/]+/index[.]ts$',
          '^src/csi/[^/]+/index[.]ts$',
        ],
      },
    },
    {
      name: 'programs-and-ffi-in-linux',
      comment: 'only src/linux runs programs and calls the C library',
      severity: 'error',
      from: { path: '^src/', pathNot: ['^src/linux/', '[.]test[.]ts$'] },
      to: { path: '^(node:)?child_process$|node_modules/koffi' },
    },
    {
      name: 'no-cycles',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/gen/' },
      to: { circular: true },
    },
  ],
  options: {
    doNotFollow: { path: ['node_modules', '^src/gen/'] },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { extensions: ['.ts', '.js'] },
  },
};

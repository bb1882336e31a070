import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import ts from 'typescript';

const PODS = new URL('../../src/pods', import.meta.url).pathname;

/** A property of an interface: `MountConfig.readonly`. */
export type Property = `${string}.${string}`;

/**
 * The properties that the interfaces of pods/config.ts declare, and those of them that code
 * in pods/ reads by name. That they are copied as a part of the whole does not count.
 */
export function configProperties(): { declared: Set<Property>; read: Set<Property> } {
  const files = readdirSync(PODS)
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
    .map((name) => join(PODS, name));
  const program = ts.createProgram(files, OPTIONS, hostOfFolder());
  const checker = program.getTypeChecker();
  const declared = new Set<Property>();
  const read = new Set<Property>();
  for (const path of files) {
    const source = program.getSourceFile(path);
    if (source === undefined) throw new Error(`cannot read ${path}`);
    const note =
      basename(path) === 'config.ts'
        ? (node: ts.Node) => addTo(declared, declarationOf(node))
        : (node: ts.Node) => addTo(read, ...readBy(node, checker));
    visit(source, note);
  }
  return { declared, read };
}

const OPTIONS: ts.CompilerOptions = {
  target: ts.ScriptTarget.ESNext,
  module: ts.ModuleKind.ESNext,
  allowImportingTsExtensions: true,
  noEmit: true,
  strict: true,
  types: [],
};

/** Resolves imports within the folder and no others: it is their types that matter, and time. */
function hostOfFolder(): ts.CompilerHost {
  const host = ts.createCompilerHost(OPTIONS);
  host.resolveModuleNameLiterals = (literals) =>
    literals.map(({ text }) => ({
      resolvedModule: text.startsWith('./')
        ? { resolvedFileName: join(PODS, text), extension: ts.Extension.Ts }
        : undefined,
    }));
  return host;
}

function visit(node: ts.Node, note: (node: ts.Node) => void): void {
  note(node);
  ts.forEachChild(node, (child) => visit(child, note));
}

function addTo(set: Set<Property>, ...properties: (Property | undefined)[]): void {
  for (const property of properties) if (property !== undefined) set.add(property);
}

/** `interface X { y: … }` is X.y; types inside it count to X. */
function declarationOf(node: ts.Node): Property | undefined {
  if (!ts.isPropertySignature(node)) return undefined;
  const owner = ts.findAncestor(node, ts.isInterfaceDeclaration);
  return owner === undefined ? undefined : `${owner.name.text}.${node.name.getText()}`;
}

/** `config.mounts`, and `{ mounts }` taken out of a config. */
function readBy(node: ts.Node, checker: ts.TypeChecker): (Property | undefined)[] {
  if (ts.isPropertyAccessExpression(node)) {
    return declarationsOf(checker.getSymbolAtLocation(node.name));
  }
  if (!ts.isBindingElement(node) || node.dotDotDotToken !== undefined) return [];
  const name = node.propertyName ?? node.name;
  if (!ts.isIdentifier(name)) return [];
  const symbol = checker.getTypeAtLocation(node.parent).getProperty(name.text);
  return declarationsOf(symbol);
}

function declarationsOf(symbol: ts.Symbol | undefined): (Property | undefined)[] {
  const declarations = symbol?.declarations ?? [];
  return declarations
    .filter((each) => each.getSourceFile().fileName === join(PODS, 'config.ts'))
    .map(declarationOf);
}

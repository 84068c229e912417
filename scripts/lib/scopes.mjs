// What has a name in a program, and which of them may have the same.

import { parseAst } from "rolldown/parseAst";

/**
 * A variable, or a private member of a class.
 *
 * @typedef {object} Named
 * @property {string} name
 * @property {boolean} isFixed whether it must keep its name: it is not the program's
 * @property {{ start: number, end: number } | undefined} outermost the outermost function that it is declared in, if any
 * @property {Set<Scope>} scopes in which nothing else can have its name
 */

/**
 * All places in a program where a variable or a private member is named, in order.
 *
 * @returns {{ start: number, end: number, named: Named }[]}
 */
export function namesIn(code) {
  const names = new Names();
  names.visit(parseAst(code), new Scope(names.globals));
  return names.places.sort((a, b) => a.start - b.start);
}

/** Where names are declared, and what is used in there. */
class Scope {
  #declared = new Map();

  /** In the outermost one, whatever is used and not declared is not the program's. */
  constructor(around) {
    this.around = around;
  }

  declare(name, outermost, isFixed = false) {
    const named = this.#declared.get(name) ?? { name, isFixed, outermost, scopes: new Set([this]) };
    this.#declared.set(name, named);
  }

  use(name) {
    if (!this.around) this.declare(name, undefined, true);
    const named = this.#declared.get(name) ?? this.around.use(name);
    named.scopes.add(this);
    return named;
  }

  has(name) {
    return this.#declared.has(name);
  }
}

const FUNCTION = /^(Function(Declaration|Expression)|ArrowFunctionExpression)$/;

class Names {
  places = [];
  globals = new Scope();
  #outermost;

  /** Visits what is not a name, or one of a variable that is used. */
  visit(node, scope) {
    const visit = this[node.type];
    if (visit) visit.call(this, node, scope);
    else if (FUNCTION.test(node.type)) this.#visitFunction(node, scope);
    else this.#visitAll(partsOf(node), scope);
  }

  #visitAll(nodes, scope) {
    for (const node of nodes) this.visit(node, scope);
  }

  #use({ start, end }, name, scope) {
    this.places.push({ start, end, named: scope.use(name) });
  }

  Identifier(node, scope) {
    this.#use(node, node.name, scope);
  }

  PrivateIdentifier(node, scope) {
    this.#use(node, `#${node.name}`, scope);
  }

  MemberExpression({ object, property, computed }, scope) {
    this.visit(object, scope);
    this.#visitKey(property, computed, scope);
  }

  #visitKey(key, computed, scope) {
    if (computed || key.type === "PrivateIdentifier") this.visit(key, scope);
  }

  Property({ key, value, computed, shorthand }, scope) {
    if (shorthand) throw new Error(`the property ${key.name} is named together with a variable`);
    this.#visitKey(key, computed, scope);
    this.visit(value, scope);
  }

  PropertyDefinition({ key, value, computed }, scope) {
    this.#visitKey(key, computed, scope);
    if (value) this.visit(value, scope);
  }

  MethodDefinition(node, scope) {
    this.PropertyDefinition(node, scope);
  }

  // Labels have names of their own.
  LabeledStatement({ body }, scope) {
    this.visit(body, scope);
  }

  BreakStatement() {}
  ContinueStatement() {}
  MetaProperty() {}

  ExportNamedDeclaration({ declaration, specifiers }, scope) {
    if (declaration) throw new Error("a variable is exported under its own name");
    this.#visitAll(specifiers, scope);
  }

  ExportSpecifier({ local }, scope) {
    this.visit(local, scope);
  }

  Program({ body }, scope) {
    this.#declareIn(body, scope);
    for (const statement of body) this.#declareVars(statement, scope);
    this.#visitAll(body, scope);
  }

  BlockStatement({ body }, around) {
    const scope = new Scope(around);
    this.#declareIn(body, scope);
    this.#visitAll(body, scope);
  }

  StaticBlock({ body }, around) {
    this.Program({ body }, new Scope(around));
  }

  SwitchStatement({ discriminant, cases }, around) {
    this.visit(discriminant, around);
    const scope = new Scope(around);
    for (const { consequent } of cases) this.#declareIn(consequent, scope);
    this.#visitAll(cases, scope);
  }

  ForStatement(node, around) {
    const scope = new Scope(around);
    this.#declareIn([node.init ?? node.left].filter(Boolean), scope);
    this.#visitAll(partsOf(node), scope);
  }

  ForInStatement(node, around) {
    this.ForStatement(node, around);
  }

  ForOfStatement(node, around) {
    this.ForStatement(node, around);
  }

  CatchClause({ param, body }, around) {
    const scope = new Scope(around);
    if (param) this.#declare(param, scope);
    this.#visitAll([param, body].filter(Boolean), scope);
  }

  ClassDeclaration(node, scope) {
    this.#visitClass(node, scope);
  }

  ClassExpression(node, around) {
    const scope = new Scope(around);
    if (node.id) this.#declare(node.id, scope);
    this.#visitClass(node, scope);
  }

  #visitClass({ id, superClass, body }, around) {
    this.#visitAll([id, superClass].filter(Boolean), around);
    const scope = new Scope(around);
    for (const { key } of body.body) if (key?.type === "PrivateIdentifier") scope.declare(`#${key.name}`);
    this.#visitAll(body.body, scope);
  }

  #visitFunction(node, around) {
    const { type, id, params, body } = node;
    if (type === "FunctionDeclaration") this.visit(id, around);
    const before = this.#outermost;
    this.#outermost ??= node;
    const scope = new Scope(around);
    if (type === "FunctionExpression" && id) this.#declare(id, scope);
    if (type === "FunctionExpression" && id) this.visit(id, scope);
    for (const param of params) this.#declare(param, scope);
    this.#visitAll(params, scope);
    if (body.type === "BlockStatement") {
      const inside = new Scope(scope);
      this.#declareVars(body, inside);
      this.BlockStatement(body, inside);
    } else {
      this.visit(body, scope);
    }
    this.#outermost = before;
  }

  /** Declares what statements declare for the block that they are in. */
  #declareIn(statements, scope) {
    for (const statement of statements) {
      const { type, kind, id, declarations } = statement;
      if (type === "VariableDeclaration" && kind !== "var") for (const { id } of declarations) this.#declare(id, scope);
      if (type === "FunctionDeclaration" || type === "ClassDeclaration") this.#declare(id, scope);
    }
  }

  /** Declares what is declared by `var` somewhere in a function. */
  #declareVars(node, scope) {
    if (FUNCTION.test(node.type)) return;
    if (node.type === "VariableDeclaration" && node.kind === "var") {
      // One that is called like a parameter is the parameter.
      for (const { id } of node.declarations) this.#declare(id, scope.around.has(id.name) ? scope.around : scope);
    }
    for (const part of partsOf(node)) this.#declareVars(part, scope);
  }

  /** Declares what a pattern binds. */
  #declare(pattern, scope) {
    switch (pattern.type) {
      case "Identifier":
        return scope.declare(pattern.name, this.#outermost);
      case "Property":
        return this.#declare(pattern.value, scope);
      case "AssignmentPattern":
        return this.#declare(pattern.left, scope);
      default:
        for (const part of partsOf(pattern)) this.#declare(part, scope);
    }
  }
}

/** What a node consists of. */
function partsOf(node) {
  return Object.values(node)
    .flat()
    .filter((part) => part?.type !== undefined);
}

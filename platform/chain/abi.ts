/**
 * Typed access to a contract: arguments, results and events have the types that follow from the `as const` ABI in
 * artifacts.ts, so a contract that changes is a compile error here. Coding is ethers'.
 */
import { Interface, type ParamType } from 'ethers/abi';
import { FarmError } from '../../protocol/errors.ts';
import type { Address, Bytes32 } from '../../protocol/ids.ts';

type Parameter = { readonly name: string; readonly type: string; readonly components?: readonly Parameter[] };
type AbiEntry = {
  readonly type: string;
  readonly name?: string;
  readonly inputs?: readonly Parameter[];
  readonly outputs?: readonly Parameter[];
};
export type Abi = readonly AbiEntry[];

/** Those that any number holds exactly; wider ones are bigint. */
type SmallUint = 'uint8' | 'uint16' | 'uint32' | 'uint40' | 'uint48';

type Value<P extends Parameter> = P['type'] extends `${infer Item}[]`
  ? readonly Value<Omit<P, 'type'> & { type: Item }>[]
  : P['type'] extends 'tuple'
    ? Fields<NonNullable<P['components']>>
    : P['type'] extends 'address'
      ? Address
      : P['type'] extends 'bytes32'
        ? Bytes32
        : P['type'] extends 'bool'
          ? boolean
          : P['type'] extends SmallUint
            ? number
            : P['type'] extends `${'u' | ''}int${number}`
              ? bigint
              : string;
type Fields<Ps extends readonly Parameter[]> = { [P in Ps[number] as P['name']]: Value<P> };
type Values<Ps extends readonly Parameter[]> = {
  [At in keyof Ps]: Ps[At] extends Parameter ? Value<Ps[At]> : never;
};

type Entry<A extends Abi, Type extends string, Name> = Extract<A[number], { type: Type; name: Name }>;
/** The names of a contract's functions. */
export type FunctionName<A extends Abi> =
  Extract<A[number], { type: 'function' }> extends { name: infer Name } ? Extract<Name, string> : never;
/** What a function takes, in order. */
export type Arguments<A extends Abi, Name> =
  Entry<A, 'function', Name> extends {
    inputs: infer Ps extends readonly Parameter[];
  }
    ? Values<Ps>
    : never;
/** What a function gives: the value itself when it is one, all in order when there are more. */
export type Result<A extends Abi, Name> =
  Entry<A, 'function', Name> extends {
    outputs: infer Ps extends readonly Parameter[];
  }
    ? Ps extends readonly [infer P extends Parameter]
      ? Value<P>
      : Values<Ps>
    : never;
type ConstructorArguments<A extends Abi> =
  Extract<A[number], { type: 'constructor' }> extends {
    inputs: infer Ps extends readonly Parameter[];
  }
    ? Values<Ps>
    : [];
/** Any event of a contract: a union by `name`. */
export type EventOf<A extends Abi> = A[number] extends infer E
  ? E extends { type: 'event'; name: infer Name; inputs: infer Ps extends readonly Parameter[] }
    ? { name: Name; args: Fields<Ps> }
    : never
  : never;

export type Log = { topics: readonly string[]; data: string };

export type Contract<A extends Abi> = {
  /** The data of a call. */
  encode<Name extends FunctionName<A>>(name: Name, args: Arguments<A, Name>): string;
  /** What a call answered. */
  decode<Name extends FunctionName<A>>(name: Name, data: string): Result<A, Name>;
  /** The data that deploys it. */
  deployment(bytecode: string, args: ConstructorArguments<A>): string;
  /** Null when it is none of this contract's events. */
  event(log: Log): EventOf<A> | null;
  /** Topic 0 of an event. */
  topic(name: EventOf<A>['name']): Bytes32;
  /** A custom error by its bytes, or null when it is none of this contract's. */
  error(data: string): { name: string; args: Record<string, string> } | null;
};

/** The contract of this ABI. Made once per contract and process (contracts.ts): it parses all of it. */
export function contractOf<const A extends Abi>(abi: A): Contract<A> {
  const coder = new Interface(abi);
  const functionOf = (name: string) => {
    const fragment = coder.getFunction(name);
    if (fragment === null) throw new FarmError('INTERNAL', `the contract has no function ${name}`);
    return fragment;
  };
  return {
    encode: (name, args) => coder.encodeFunctionData(functionOf(name), args as readonly unknown[]),
    decode(name, data) {
      const fragment = functionOf(name);
      const values = coder.decodeFunctionResult(fragment, data);
      const all = fragment.outputs.map((parameter, at) => plain(parameter, values[at]));
      return (all.length === 1 ? all[0] : all) as Result<A, typeof name>;
    },
    deployment: (bytecode, args) => bytecode + coder.encodeDeploy(args as readonly unknown[]).slice(2),
    event(log) {
      const parsed = coder.parseLog(log);
      if (parsed === null) return null;
      const args = parsed.fragment.inputs.map((input, at) => [input.name, plain(input, parsed.args[at])]);
      return { name: parsed.name, args: Object.fromEntries(args) } as EventOf<A>;
    },
    topic(name) {
      const event = coder.getEvent(name as string);
      if (event === null) throw new FarmError('INTERNAL', `the contract has no event ${String(name)}`);
      return event.topicHash as Bytes32;
    },
    error(data) {
      const parsed = coder.parseError(data);
      if (parsed === null) return null;
      const args = parsed.fragment.inputs.map((input, at) => [
        input.name === '' ? String(at) : input.name,
        String(parsed.args[at]),
      ]);
      return { name: parsed.name, args: Object.fromEntries(args) };
    },
  };
}

/** ethers' values as plain ones: structs as records, small numbers as numbers, addresses in lower case. */
function plain(parameter: ParamType, value: unknown): unknown {
  if (parameter.isArray()) {
    const { arrayChildren } = parameter;
    return Array.from(value as Iterable<unknown>, (item) => plain(arrayChildren, item));
  }
  if (parameter.isTuple()) {
    const values = value as readonly unknown[];
    return Object.fromEntries(parameter.components.map((part, at) => [part.name, plain(part, values[at])]));
  }
  if (parameter.type === 'address') return String(value).toLowerCase();
  const bits = /^uint(\d+)$/.exec(parameter.type)?.[1];
  return bits !== undefined && Number(bits) <= 48 ? Number(value) : value;
}

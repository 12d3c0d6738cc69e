/** A job that is paid from a wallet whose key only its owner has: what it is asked to sign, and what comes back. */
import { z } from 'zod';
import { addressSchema, jobIdSchema, moneySchema, signatureSchema } from './ids.ts';
import { jobRequestSchema } from './job.ts';

/** Unix seconds that the contract keeps in 32 bits. */
const deadlineSchema = z
  .number()
  .int()
  .min(0)
  .max(2 ** 32 - 1);

/** A job's terms apart from who pays and under which name: both signatures are over these. */
export const walletTermsSchema = z.strictObject({
  /** What goes into the escrow, and all that the permit lets it pull. */
  budget: moneySchema,
  maxTaskPrice: moneySchema,
  /** Of the job and of the permit. */
  deadline: deadlineSchema,
  /** Of the wallet's permits at the token. */
  permitNonce: moneySchema,
});
export type WalletTerms = z.infer<typeof walletTermsSchema>;

export const quoteRequestSchema = z.strictObject({ job: jobRequestSchema, wallet: addressSchema });
export type QuoteRequest = z.input<typeof quoteRequestSchema>;

/** EIP-712 data in the JSON form that wallets take (`eth_signTypedData_v4`). */
const typedDataSchema = z.strictObject({
  types: z.record(z.string(), z.array(z.strictObject({ name: z.string(), type: z.string() }))),
  primaryType: z.string(),
  domain: z.record(z.string(), z.unknown()),
  message: z.record(z.string(), z.unknown()),
});

export const walletQuoteSchema = z.strictObject({
  /** The name that the job will have: it is part of what is signed. */
  job: jobIdSchema,
  wallet: addressSchema,
  terms: walletTermsSchema,
  /** The agreement to the job's terms. */
  openJob: typedDataSchema,
  /** Lets the escrow pull the budget. */
  permit: typedDataSchema,
});
export type WalletQuote = z.infer<typeof walletQuoteSchema>;

export const walletSignaturesSchema = z.strictObject({ openJob: signatureSchema, permit: signatureSchema });
export type WalletSignatures = z.infer<typeof walletSignaturesSchema>;

/** A quote that was agreed to: the same job and terms with both signatures. */
export const signedJobSchema = z.strictObject({
  job: jobRequestSchema,
  wallet: addressSchema,
  terms: walletTermsSchema,
  signatures: walletSignaturesSchema,
});
export type SignedJob = z.input<typeof signedJobSchema>;

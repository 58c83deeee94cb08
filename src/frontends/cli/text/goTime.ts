/*
 * Times as Go prints and reads them: RFC 3339 with nanoseconds in, `2026-11-24 04:00:00.5 +0000 UTC` out, and what
 * `--since` and `--until` accept (a stamp, a date, or a duration back from now). Pure.
 */
import { durationToNs } from '../flagTypes.ts';

/** Go's Time.String() of an RFC 3339 stamp: fraction without trailing zeros, UTC when it ends in Z. */
export function formatGoTime(rfc3339: string): string {
  const match = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|([+-]\d\d):(\d\d))$/.exec(rfc3339);
  if (match === null) return rfc3339;
  const [, date = '', time = '', fraction = '', zone = '', hours = '', minutes = ''] = match;
  const digits = fraction.replace(/0+$/, '');
  const offset = zone === 'Z' ? '+0000 UTC' : `${hours}${minutes} ${hours}${minutes}`;
  return `${date} ${time}${digits === '' ? '' : `.${digits}`} ${offset}`;
}

function localZone(ms: number): { offset: string; name: string; minutes: number } {
  const date = new Date(ms);
  const minutes = -date.getTimezoneOffset();
  const abs = Math.abs(minutes);
  const offset = `${minutes < 0 ? '-' : '+'}${pad2(Math.trunc(abs / 60))}${pad2(abs % 60)}`;
  if (minutes === 0) return { offset, name: 'UTC', minutes };
  const parts = new Intl.DateTimeFormat('en', { timeZoneName: 'short' }).formatToParts(date);
  const short = parts.find(({ type }) => type === 'timeZoneName')?.value ?? '';
  return { offset, name: /^[A-Z]+$/.test(short) ? short : offset.slice(0, 3), minutes };
}

function pad2(n: number): string {
  return String(n).padStart(2, '0');
}

/** `2026-11-24 05:00:00 +0100 CET`: seconds since 1970 in the local zone. */
export function formatLocalTime(unixSeconds: number): string {
  const { offset, name, minutes } = localZone(unixSeconds * 1000);
  const shifted = new Date((unixSeconds + minutes * 60) * 1000).toISOString();
  return `${shifted.slice(0, 10)} ${shifted.slice(11, 19)} ${offset} ${name}`;
}

/** `2026-11-24T05:00:00.123456789+01:00`: nanoseconds since 1970 in the local zone, always nine digits. */
export function formatNanoTime(unixNano: bigint): string {
  const seconds = Number(unixNano / 1_000_000_000n);
  const { offset, minutes } = localZone(seconds * 1000);
  const shifted = new Date((seconds + minutes * 60) * 1000).toISOString().slice(0, 19);
  const zone = minutes === 0 ? 'Z' : `${offset.slice(0, 3)}:${offset.slice(3)}`;
  return `${shifted}.${String(unixNano % 1_000_000_000n).padStart(9, '0')}${zone}`;
}

/**
 * What the API takes for `since` and `until`: a number of seconds with nine fraction digits. Accepts a duration back
 * from now (`10m`), seconds (`1700000000.5`), a date, or a date and time with or without a zone (local if without).
 * Throws Error when it is none of these.
 */
export function parseTimestamp(text: string, nowMs: number): string {
  if (/^(\d+(\.\d*)?(ns|us|\u00b5s|ms|s|m|h))+$/.test(text)) {
    const thenNs = BigInt(nowMs) * 1_000_000n - BigInt(Math.round(durationToNs(text)));
    return secondsText(thenNs);
  }
  if (/^\d+(\.\d+)?$/.test(text)) return text;
  const hasZone = /[zZ]$|[+-]\d\d:\d\d$/.test(text);
  const isDate = /^\d{4}-\d\d-\d\d([T ]\d\d(:\d\d(:\d\d(\.\d+)?)?)?)?([zZ]|[+-]\d\d:\d\d)?$/.test(text);
  const full = isDate ? completeStamp(text) : '';
  const ms = Date.parse(hasZone ? full : full.replace(/[zZ]$/, ''));
  if (!isDate || Number.isNaN(ms))
    throw new Error(`failed to parse value as time or duration: ${JSON.stringify(text)}`);
  const fraction = /\.(\d+)/.exec(text)?.[1] ?? '';
  return `${Math.floor(ms / 1000)}.${fraction.padEnd(9, '0').slice(0, 9)}`;
}

/** Fills what is missing of a time of day; Date.parse then reads it as local unless a zone follows. */
function completeStamp(text: string): string {
  const match = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d)(?::(\d\d))?(?::(\d\d))?(?:\.\d+)?)?(.*)$/.exec(text);
  const [, date = '', hour = '00', minute = '00', second = '00', zone = ''] = match ?? [];
  return `${date}T${hour}:${minute}:${second}${zone.toUpperCase()}`;
}

function secondsText(ns: bigint): string {
  return `${ns / 1_000_000_000n}.${String(ns % 1_000_000_000n).padStart(9, '0')}`;
}

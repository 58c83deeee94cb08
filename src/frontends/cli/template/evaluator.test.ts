import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileTemplate } from './evaluator.ts';
import { GoStruct, toUntyped } from './values.ts';

const dot = toUntyped({ Name: 'web', L: [1, 2, 3], M: { b: 'x', a: 'y' }, N: { IP: '10.0.0.2' }, E: [] });

for (const [template, expected] of [
  ['{{.Name}}', 'web'],
  ['{{json .M}}', '{"a":"y","b":"x"}'],
  ['{{range $k, $v := .M}}{{$k}}={{$v}};{{end}}', 'a=y;b=x;'],
  ['{{range .E}}x{{else}}none{{end}}', 'none'],
  ['{{range $i, $e := .L}}{{if $i}},{{end}}{{$e}}{{end}}', '1,2,3'],
  ['{{range .L}}{{if eq . 2}}{{continue}}{{end}}{{.}}{{end}}', '13'],
  ['{{range .L}}{{if eq . 2}}{{break}}{{end}}{{.}}{{end}}', '1'],
  ['{{with .N}}{{.IP}}{{end}}', '10.0.0.2'],
  ['{{if and .Name (not .E)}}yes{{else}}no{{end}}', 'yes'],
  ['a {{- /* note */ -}} b', 'ab'],
  ['a {{- .Name -}} b', 'awebb'],
  ['{{$x := .Name}}{{$x = "z"}}{{$x}}', 'z'],
  ['{{.Name | upper | printf "%-5s|%q" "a"}}', 'a    |"WEB"'],
  ['{{index .L 1}}{{index .M "a"}}{{len .L}}', '2y3'],
  ['{{join (split "a-b" "-") "+"}}{{title "ab cd"}}{{lower "X"}}', 'a+bAb Cdx'],
  ['{{println .Name 1}}', 'web 1\n'],
  ['{{eq .Name "x" "web"}}{{lt 1 2}}{{ge 1 2}}', 'truetruefalse'],
  ['{{.Zip}}{{.M}}{{.L}}', '<no value>map[a:y b:x][1 2 3]'],
] as const) {
  test(`template ${template}`, () => assert.equal(compileTemplate(template).run(dot), expected));
}

for (const [template, message] of [
  ['{{', 'template: :1: unclosed action'],
  ['{{foo}}', 'template: :1: function "foo" not defined'],
  ['{{if .Name}}', 'template: :1: unexpected EOF'],
  ['{{end}}', 'template: :1: unexpected {{end}}'],
] as const) {
  test(`template ${template} is refused`, () => assert.throws(() => compileTemplate(template), { message }));
}

test('an unknown field of a struct fails with the place, a missing key only when told so', () => {
  const struct = new GoStruct('*x.Context', new Map([['A', 1]]));
  assert.throws(() => compileTemplate('ab{{.B}}').run(struct), {
    message: 'template: :1:4: executing "" at <.B>: can\'t evaluate field B in type *x.Context',
  });
  assert.throws(() => compileTemplate('{{.M.q}}').run(dot, { failsOnMissingKey: true }), {
    message: 'template: :1:4: executing "" at <.M.q>: map has no entry for key "q"',
  });
});

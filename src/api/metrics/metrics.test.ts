import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMetrics, type Stock } from './metrics.ts';

const stock: Stock = {
  networksByDriver: { bridge: 2 },
  endpointsByState: { attached: 3, reserved: 1 },
  leasesByFamily: { 4: 4, 6: 0 },
  containersByState: { running: 3 },
  portsByProtocol: { tcp: 2 },
  conditionsBySeverity: { warning: 0 },
  repairsByKind: { firewall: 5 },
  dnsByResult: { own: 7 },
  dnsLatencies: { boundsMs: [0.1, 5], series: { own: { counts: [4, 2, 1], sumMs: 20 } } },
};

test('things are counted when somebody asks, and a value that is gone is gone', async () => {
  const metrics = createMetrics();
  let now = stock;
  metrics.readFrom(() => Promise.resolve(now));
  const first = await metrics.render();
  assert.match(first, /^linkspan_endpoints\{state="attached"\} 3$/m);
  assert.match(first, /^linkspan_leases\{family="4"\} 4$/m);
  assert.match(
    first,
    /^# TYPE linkspan_repairs_total counter\nlinkspan_repairs_total\{kind="firewall"\} 5$/m,
  );
  assert.match(first, /^linkspan_dns_queries_total\{result="own"\} 7$/m);
  assert.ok(
    first.endsWith(
      [
        '# TYPE linkspan_dns_query_seconds histogram',
        'linkspan_dns_query_seconds_bucket{le="0.0001",result="own"} 4',
        'linkspan_dns_query_seconds_bucket{le="0.005",result="own"} 6',
        'linkspan_dns_query_seconds_bucket{le="+Inf",result="own"} 7',
        'linkspan_dns_query_seconds_sum{result="own"} 0.02',
        'linkspan_dns_query_seconds_count{result="own"} 7',
        '',
      ].join('\n'),
    ),
    first.slice(-500),
  );
  now = { ...stock, networksByDriver: { none: 1 } };
  const second = await metrics.render();
  assert.match(second, /^linkspan_networks\{driver="none"\} 1$/m);
  assert.doesNotMatch(second, /driver="bridge"/);
  assert.match(second, /^linkspan_repairs_total\{kind="firewall"\} 5$/m, 'a counter is not added to itself');
});

test('durations become histograms, and paths without a route one series', async () => {
  const metrics = createMetrics();
  metrics.observeKernel({ verb: 'attach', durationMs: 1.2, isFailure: false });
  metrics.observeKernel({ verb: 'attach', durationMs: 30, isFailure: true });
  for (const method of ['GET', 'BREW'])
    metrics.observeRequest({ method, route: undefined, status: 404, durationMs: 1 });
  metrics.observeRequest({ method: 'GET', route: '/networks/:id', status: 200, durationMs: 2 });
  const text = await metrics.render();
  assert.match(text, /^linkspan_kernel_operation_seconds_bucket\{le="0.001",verb="attach",result="ok"\} 0$/m);
  assert.match(
    text,
    /^linkspan_kernel_operation_seconds_bucket\{le="0.0025",verb="attach",result="ok"\} 1$/m,
  );
  assert.match(text, /^linkspan_kernel_operation_seconds_count\{verb="attach",result="error"\} 1$/m);
  assert.match(text, /^linkspan_api_request_seconds_count\{method="other",route="none",status="404"\} 2$/m);
  assert.match(
    text,
    /^linkspan_api_request_seconds_count\{method="GET",route="\/networks\/:id",status="200"\} 1$/m,
  );
});

// Package metrics keeps Prometheus metrics of a node, as a view of its [framework.Hooks]:
//
//	hooks, err := metrics.New(registerer)
//	node, err := framework.Connect(ctx, framework.Config{Hooks: hooks})
//
// # Metrics
//
//	name                                 type       labels
//	catga_published_messages_total       counter    kind qos outcome
//	catga_publish_duration_seconds       histogram  kind qos
//	catga_consumed_messages_total        counter    group kind outcome
//	catga_process_duration_seconds       histogram  group kind
//	catga_delivery_latency_seconds       histogram  group kind
//	catga_redeliveries_total             counter    group kind
//	catga_dead_letters_total             counter    group kind reason
//	catga_handler_inflight               gauge      node group kind
//	catga_handler_concurrency_limit      gauge      node group kind
//	catga_idempotency_checks_total       counter    result
//	catga_requests_total                 counter    kind outcome
//	catga_request_duration_seconds       histogram  kind
//	catga_nodes                          gauge      state
//	catga_nats_connected                 gauge      node connection
//	catga_nats_reconnects_total          counter    node connection
//	catga_consumer_pending               gauge      group kind
//	catga_consumer_ack_pending           gauge      group kind
//	catga_consumer_oldest_age_seconds    gauge      group kind
//	catga_build_info                     gauge      version goversion
//
// Messages are counted where they end: published ones as sent (QoS 0), stored, duplicate or error,
// failed attempts included; consumed ones once per delivery, by what became of it
// ([framework.Verdict]); requests on the caller's side. Process duration has the runs of handlers
// only, so duplicates do not make it look fast. Delivery latency is from stored to taken up, by two
// clocks: their skew is in it. The gauges of a consumer group come from the node's own poller
// ([framework.Config].LagInterval), never from a scrape.
//
// # Labels
//
// Every label has few values: kinds and groups are those registered, and a value that is not in the
// list of its label is counted as "other" (outcomes of publishing and of requests: "error"). The
// group of a subscription on every node is that node's own.
//
//	outcome, published   sent stored duplicate error
//	outcome, consumed    ok retry dead duplicate rejected expired failed returned other
//	outcome, requests    ok rejected failed no_reply key_reused error
//	reason               error panic rejected permanent undecodable unknown_kind crashed expired other
//	result               new duplicate in_progress error other
//	state                up draining offline (left or lost, within the last hour)
//	connection           publish consume shared
//
// Counters of a handler exist, at zero, from its registration on, so that the first dead letter is an
// increase.
//
// # Cost
//
// Labels are resolved once per registration; per message nothing is allocated. Histograms are native
// and classic at once: a server that knows native ones takes those, others the buckets.
package metrics

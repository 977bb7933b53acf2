package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/catga-go/catga/framework"
)

// New registers the metrics with reg and returns hooks that keep them. Where reg has them already,
// they are shared: several nodes of one process may each call New with one registerer. Nodes of
// different clusters need registerers that tell them apart (prometheus.WrapRegistererWith).
//
// The default registry is used only if it is passed. A nil reg is a [*framework.ConfigError]; a
// metric of another origin under one of the names is an error, and then nothing is registered. The
// hooks are safe for concurrent use.
func New(reg prometheus.Registerer) (framework.Hooks, error) {
	m, err := register(reg)
	if err != nil {
		return framework.Hooks{}, err
	}
	m.describeBuild()
	return framework.Hooks{
		Handler:    m.handler,
		Kind:       m.kind,
		Requests:   m.request,
		Nodes:      m.setNodes,
		Lag:        m.setLag,
		Connection: m.setConnection,
	}, nil
}

// metrics is the whole set; its vectors are shared by all hooks of one registerer.
type metrics struct {
	published       *prometheus.CounterVec
	publishDuration *prometheus.HistogramVec

	consumed        *prometheus.CounterVec
	processDuration *prometheus.HistogramVec
	deliveryLatency *prometheus.HistogramVec
	redeliveries    *prometheus.CounterVec
	deadLetters     *prometheus.CounterVec
	inflight        *prometheus.GaugeVec
	limit           *prometheus.GaugeVec
	checks          *prometheus.CounterVec

	requests        *prometheus.CounterVec
	requestDuration *prometheus.HistogramVec

	nodes      *prometheus.GaugeVec
	connected  *prometheus.GaugeVec
	reconnects *prometheus.CounterVec
	pending    *prometheus.GaugeVec
	ackPending *prometheus.GaugeVec
	oldestAge  *prometheus.GaugeVec
	buildInfo  *prometheus.GaugeVec
}

func register(reg prometheus.Registerer) (*metrics, error) {
	r, err := newRegistrar(reg)
	if err != nil {
		return nil, err
	}
	m := &metrics{
		published:       r.counter("published_messages_total", "Messages published or sent, failed attempts included.", "kind", "qos", "outcome"),
		publishDuration: r.histogram("publish_duration_seconds", "Time to publish one message: QoS 0 until written, QoS 1 until stored.", callBuckets(), "kind", "qos"),

		consumed:        r.counter("consumed_messages_total", "Deliveries by what became of them.", "group", "kind", "outcome"),
		processDuration: r.histogram("process_duration_seconds", "Time one run of a handler took, middleware included.", callBuckets(), "group", "kind"),
		deliveryLatency: r.histogram("delivery_latency_seconds", "Time from a message being stored to being taken up, by two clocks.", waitBuckets(), "group", "kind"),
		redeliveries:    r.counter("redeliveries_total", "Deliveries of messages the server had delivered before.", "group", "kind"),
		deadLetters:     r.counter("dead_letters_total", "Messages stored as dead letters, by reason.", "group", "kind", "reason"),
		inflight:        r.gauge("handler_inflight", "Runs of handlers going on.", "node", "group", "kind"),
		limit:           r.gauge("handler_concurrency_limit", "Most runs of the handler at a time.", "node", "group", "kind"),
		checks:          r.counter("idempotency_checks_total", "Claims of message IDs, by result.", "result"),

		requests:        r.counter("requests_total", "Requests sent, by outcome, on the caller's side.", "kind", "outcome"),
		requestDuration: r.histogram("request_duration_seconds", "Time from sending a request to its answer or error, on the caller's side.", callBuckets(), "kind"),

		nodes:      r.gauge("nodes", "Nodes of the cluster by state.", "state"),
		connected:  r.gauge("nats_connected", "Whether the connection to NATS is up (1) or not (0).", "node", "connection"),
		reconnects: r.counter("nats_reconnects_total", "Connections to NATS that came back after a loss.", "node", "connection"),
		pending:    r.gauge("consumer_pending", "Messages of the group not delivered yet.", "group", "kind"),
		ackPending: r.gauge("consumer_ack_pending", "Messages of the group delivered and not settled.", "group", "kind"),
		oldestAge:  r.gauge("consumer_oldest_age_seconds", "Age of the group's oldest message that is not settled; 0 if there is none.", "group", "kind"),
		buildInfo:  r.gauge("build_info", "Version of the library and of Go; always 1.", "version", "goversion"),
	}
	return m, r.done()
}

// callBuckets suit what a caller waits for: half a millisecond to ten seconds.
func callBuckets() []float64 {
	return []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
}

// waitBuckets suit what waits in a stream: a millisecond to an hour.
func waitBuckets() []float64 {
	return []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600}
}

func observe(h prometheus.Observer, d time.Duration) { h.Observe(d.Seconds()) }
